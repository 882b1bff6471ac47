"""The initial noise of a clip, put on a MODEL so that every sampler node of the host uses it.

The node Video Noise calls `add_video_noise`. Noise before and after is `[frames, ...]`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...motion_modules.run_state import VIDEO_NOISE, add_wrapper_once, put_on_model
from ..windows.schedules import WindowLayout


@dataclass(frozen=True)
class NoiseSettings:
    """A kind of noise from `NOISES`, with the `length` and `overlap` of the context windows, in frames."""

    kind: str
    length: int = 16
    overlap: int = 4


def free_noise(noise: torch.Tensor, settings: NoiseSettings, seed: int) -> torch.Tensor:
    """Fill the clip after the first window with the frames of that window, shuffled (Qiu et al. 2024, "FreeNoise").

    Each frame is still white noise, while distant windows consist of the same frames.
    """
    frames, length, advance = len(noise), settings.length, settings.length - settings.overlap
    generator = torch.Generator().manual_seed(seed)
    order = list(range(frames))
    for start in range(0, frames - length, advance):
        end = start + length
        count = min(advance, frames - end)
        shuffled = torch.randperm(count, generator=generator).tolist()
        order[end : end + count] = [order[start + number] for number in shuffled]
    return noise[order]


def repeated_noise(noise: torch.Tensor, settings: NoiseSettings, seed: int) -> torch.Tensor:
    """Repeat the frames of the first window."""
    return noise[[frame % settings.length for frame in range(len(noise))]]


def same_noise(noise: torch.Tensor, settings: NoiseSettings, seed: int) -> torch.Tensor:
    """Use the noise of the first frame for all frames, which makes the clip calmer, and closer to a still."""
    return noise[[0] * len(noise)]


NOISES: dict[str, Callable[[torch.Tensor, NoiseSettings, int], torch.Tensor]] = {
    "FreeNoise": free_noise,
    "repeated": repeated_noise,
    "same": same_noise,
}


def add_video_noise(model: ModelPatcher, settings: NoiseSettings) -> ModelPatcher:
    """Return a clone of `model` that samples from such noise, instead of one that was set before."""
    WindowLayout(settings.length, settings.overlap).check()
    clone = model.clone()
    put_on_model(clone, VIDEO_NOISE, settings)
    add_wrapper_once(clone, WrappersMP.SAMPLER_SAMPLE, VIDEO_NOISE, sample_from_video_noise)
    return clone


def sample_from_video_noise(executor, guider, sigmas, extra_args, callback, noise, *args, **kwargs):
    """Wrapper of the host's sampler: put the frames of the noise in another order."""
    settings: NoiseSettings = extra_args["model_options"]["transformer_options"][VIDEO_NOISE]
    noise = NOISES[settings.kind](noise, settings, extra_args["seed"] or 0)
    return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)
