"""Another noise to begin with, put on a MODEL, so that every sampler node of the host uses it."""

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ..motion_modules.errors import MotionModelError
from .long_noise import NOISES, NoiseSettings

VIDEO_NOISE = "loom_video_noise"


def with_video_noise(model: ModelPatcher, settings: NoiseSettings) -> ModelPatcher:
    """A clone of `model` that samples from such noise; one that it had before is replaced."""
    if settings.overlap >= settings.length:
        raise MotionModelError(
            f"context_overlap is {settings.overlap} and context_length {settings.length}: "
            "set context_overlap below context_length."
        )
    clone = model.clone()
    clone.model_options["transformer_options"][VIDEO_NOISE] = settings
    if not clone.get_wrappers(WrappersMP.SAMPLER_SAMPLE, VIDEO_NOISE):
        clone.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, VIDEO_NOISE, sample_from_video_noise)
    return clone


def sample_from_video_noise(executor, guider, sigmas, extra_args, callback, noise, *args, **kwargs):
    """Wrapper of the host's sampler: takes the noise of the noise node in another order."""
    settings: NoiseSettings = extra_args["model_options"]["transformer_options"][VIDEO_NOISE]
    noise = NOISES[settings.kind](noise, settings, extra_args["seed"] or 0)
    return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)
