"""The initial noise of a clip, put on a MODEL so that every sampler node of the host uses it.

`noise` and the results are `[frames, ...]`.
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
    """Which noise of `NOISES`, with the `length` and `overlap` of the context windows, in frames."""

    kind: str
    length: int = 16
    overlap: int = 4


def free_noise(noise: torch.Tensor, settings: NoiseSettings, seed: int) -> torch.Tensor:
    """Behind the first window, frames of noise seen before in shuffled order (Qiu et al. 2024, "FreeNoise").

    Each frame stays white noise, while windows a whole window apart draw on the same frames.
    """
    frames, length, advance = len(noise), settings.length, settings.length - settings.overlap
    generator = torch.Generator().manual_seed(seed)
    order = list(range(frames))
    for start in range(0, frames - length, advance):
        place = start + length
        count = min(advance, frames - place)
        shuffled = torch.randperm(count, generator=generator).tolist()
        order[place : place + count] = [order[start + number] for number in shuffled]
    return noise[order]


def repeated_noise(noise: torch.Tensor, settings: NoiseSettings, seed: int) -> torch.Tensor:
    """The frames of the first window again and again."""
    return noise[[frame % settings.length for frame in range(len(noise))]]


def same_noise(noise: torch.Tensor, settings: NoiseSettings, seed: int) -> torch.Tensor:
    """The first frame's noise for all frames: calmer, and closer to a still."""
    return noise[:1].repeat(len(noise), *[1] * (noise.ndim - 1))


NOISES: dict[str, Callable[[torch.Tensor, NoiseSettings, int], torch.Tensor]] = {
    "FreeNoise": free_noise,
    "repeated": repeated_noise,
    "same": same_noise,
}


def add_video_noise(model: ModelPatcher, settings: NoiseSettings) -> ModelPatcher:
    """A clone of `model` that samples from such noise; one that it had before is replaced."""
    WindowLayout(settings.length, settings.overlap).check()
    clone = model.clone()
    put_on_model(clone, VIDEO_NOISE, settings)
    add_wrapper_once(clone, WrappersMP.SAMPLER_SAMPLE, VIDEO_NOISE, sample_from_video_noise)
    return clone


def sample_from_video_noise(executor, guider, sigmas, extra_args, callback, noise, *args, **kwargs):
    """Wrapper of the host's sampler: takes the noise of the noise node in another order."""
    settings: NoiseSettings = extra_args["model_options"]["transformer_options"][VIDEO_NOISE]
    noise = NOISES[settings.kind](noise, settings, extra_args["seed"] or 0)
    return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)
