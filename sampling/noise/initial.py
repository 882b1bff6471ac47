"""The initial noise of a clip, put on a MODEL so that every sampler node of the host uses it.

The node Video Noise calls `add_video_noise`. Noise before and after is `[frames, ...]`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.context_windows import IndexListContextHandler
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...motion_modules.run_state import VIDEO_NOISE, add_wrapper_once, put_on_model
from ..windows.handler import LoomContextHandler
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
    """Return a clone of `model` that samples from such noise, instead of one that was set before.

    Context windows on the model replace the lengths of FreeNoise, wherever they are added.
    """
    WindowLayout(settings.length, settings.overlap).check()
    clone = model.clone()
    put_on_model(clone, VIDEO_NOISE, settings)
    add_wrapper_once(clone, WrappersMP.SAMPLER_SAMPLE, VIDEO_NOISE, sample_from_video_noise)
    return clone


def sample_from_video_noise(executor, guider, sigmas, extra_args, callback, noise, *args, **kwargs):
    """Wrapper of the host's sampler: put the frames of the noise in another order."""
    options = extra_args["model_options"]
    _log_other_lengths(options["transformer_options"][VIDEO_NOISE], options)
    noise = arrange_noise(noise, options, extra_args["seed"] or 0)
    return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)


def arrange_noise(noise: torch.Tensor, model_options: Mapping[str, Any], seed: int) -> torch.Tensor:
    """Return white `noise` as the Video Noise on a model makes it; without one, as it is."""
    settings = model_options["transformer_options"].get(VIDEO_NOISE)
    if settings is None:
        return noise
    settings = fit_to_windows(settings, model_options)
    return NOISES[settings.kind](noise, settings, seed)


def fit_to_windows(settings: NoiseSettings, model_options: Mapping[str, Any]) -> NoiseSettings:
    """Return `settings` with the length and overlap of the model's first context windows, if FreeNoise needs them."""
    layout = _find_layout(model_options.get("context_handler"))
    if settings.kind != "FreeNoise" or layout in (None, WindowLayout(settings.length, settings.overlap)):
        return settings
    return replace(settings, length=layout.length, overlap=layout.overlap)


def _log_other_lengths(settings: NoiseSettings, model_options: Mapping[str, Any]) -> None:
    fitted = fit_to_windows(settings, model_options)
    if fitted is not settings:
        logging.info(
            f"Video Noise: FreeNoise uses the context windows of the model, {fitted.length} frames with an overlap of "
            f"{fitted.overlap}, instead of {settings.length} and {settings.overlap}."
        )


def _find_layout(handler: Any) -> WindowLayout | None:
    """Return the length and overlap of this pack's windows or of those of ComfyUI's own nodes over frames."""
    if isinstance(handler, LoomContextHandler):
        first = handler.settings[0].layout
        return WindowLayout(first.length, first.overlap)
    if isinstance(handler, IndexListContextHandler) and handler.dim == 0:
        return WindowLayout(handler.context_length, min(handler.context_overlap, handler.context_length - 1))
    return None
