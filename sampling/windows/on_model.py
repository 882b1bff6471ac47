"""Context windows put on a MODEL: the handler, what is refused before sampling, and the host's memory estimate."""

from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...motion_modules.errors import LoomError
from ...motion_modules.run_state import CONTEXT_RUN, add_wrapper_once, set_temporarily
from .conds import per_frame_lengths, require_clip_lengths
from .handler import LoomContextHandler
from .run import ContextRun
from .settings import ContextSettings, require_loop

HANDLER = "context_handler"


def add_context_windows(model: ModelPatcher, settings: ContextSettings) -> ModelPatcher:
    """A clone of `model` that samples in windows; settings of ours that it has with another start stay."""
    settings.check()
    clone = model.clone()
    options: dict[str, Any] = clone.model_options
    before = options.get(HANDLER)
    ours = isinstance(before, LoomContextHandler)
    options[HANDLER] = before.followed_by(settings) if ours else LoomContextHandler((settings,))
    add_wrapper_once(clone, WrappersMP.OUTER_SAMPLE, CONTEXT_RUN, sample_in_windows)
    add_wrapper_once(clone, WrappersMP.PREPARE_SAMPLING, CONTEXT_RUN, prepare_window)
    return clone


def sample_in_windows(executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
    """Wrapper of the host's guider: refuse what cannot be cut into windows, and begin a run."""
    guider = executor.class_obj
    handler = guider.model_options.get(HANDLER)
    if not isinstance(handler, LoomContextHandler):
        return executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
    _check(handler, guider.conds, noise)
    with set_temporarily(guider.model_options, {CONTEXT_RUN: ContextRun()}):
        return executor(noise, latent_image, sampler, sigmas, *args, **kwargs)


def _check(handler: LoomContextHandler, conds: dict[str, list[dict]], noise) -> None:
    if noise.ndim != 4:
        raise LoomError(
            f"The latent has the shape {list(noise.shape)}, but Context Windows (AnimateDiff) needs a batch of images "
            "[frames, channels, height, width]: for a video model, use the host's own Context Windows node."
        )
    frames = noise.shape[0]
    for settings in handler.settings:
        require_loop(settings, frames)
    if any(own.divides_clip(frames) or own.divides_attention(frames) for own in handler.settings):
        require_clip_lengths(conds, per_frame_lengths, frames)


def prepare_window(executor, model, noise_shape, conds, *args, **kwargs):
    """Wrapper of the host's estimate of memory: what is in memory at once is a window, not the clip."""
    handler = kwargs.get("model_options", {}).get(HANDLER)
    if isinstance(handler, LoomContextHandler) and not _sees_whole_clip(handler, noise_shape[0]):
        noise_shape = [min(noise_shape[0], handler.context_length), *noise_shape[1:]]
    return executor(model, noise_shape, conds, *args, **kwargs)


def _sees_whole_clip(handler: LoomContextHandler, frames: int) -> bool:
    return handler.settings[0].start_percent > 0 or any(own.divides_attention(frames) for own in handler.settings)
