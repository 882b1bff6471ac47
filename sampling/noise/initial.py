"""The noise of a clip, put on a MODEL so that every sampler node of the host uses it.

The node Video Noise calls `add_video_noise`. Noise before and after is `[frames, ...]`.
"""

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from comfy.context_windows import IndexListContextHandler
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...motion_modules.errors import LoomError, require_finite
from ...motion_modules.run_state import VIDEO_NOISE, add_wrapper_once, put_on_model, set_temporarily
from ..camera.picture_motion import find_picture_steps
from ..camera.poses import CameraPath, check_length
from ..windows.handler import LoomContextHandler
from ..windows.schedules import WindowLayout
from .mixing import mix
from .paths import Camera, follow_camera, follow_flows, follow_steps
from .seeds import draw_frames, draw_seeded_frames, draw_white, find_frame_numbers
from .step_noise import with_step_noise
from .warp import find_box, warp_clip

SEEDED, STREAM, CAMERA, VIDEO = "seed + frame", "stream per frame", "camera", "video"


@dataclass(frozen=True)
class NoiseSettings:
    """A kind of noise from `NOISES`, and what it needs.

    `length` and `overlap` are those of the context windows, in frames. `start` is the number of the
    first frame, and `numbers` are those of all frames, counted from there, where they are not in a
    row. `camera_path` replaces `camera`. `flows` are those of `paths.follow_flows`. `fresh_noise` is
    the share of independent noise in the variance. With `in_steps`, the noise that a sampler adds
    after each step is of this kind too.
    """

    kind: str
    length: int = 16
    overlap: int = 4
    start: int = 0
    camera: Camera = field(default_factory=Camera)
    camera_path: CameraPath | None = None
    flows: torch.Tensor | None = field(default=None, compare=False)
    fresh_noise: float = 0.0
    in_steps: bool = False
    numbers: tuple[int, ...] = ()

    @property
    def depends_on_numbers(self) -> bool:
        """Return whether the number of a frame decides on its noise."""
        return self.kind in (SEEDED, STREAM) or self.fresh_noise > 0

    def number_frames(self, frames: int) -> list[int]:
        return [self.start + number for number in self.numbers or range(frames)]

    def check(self) -> None:
        """Raise LoomError when a value cannot be used."""
        WindowLayout(self.length, self.overlap).check()
        require_finite(self)
        require_finite(self.camera)
        if not 0 <= self.fresh_noise <= 1:
            raise LoomError(f"`fresh_noise` is {self.fresh_noise:g}, but must be from 0 to 1. Change `fresh_noise`.")
        if self.camera.zoom <= 0:
            raise LoomError(f"`zoom` is {self.camera.zoom:g}, but must be above 0. Change `zoom`.")


def free_noise(noise: torch.Tensor, settings: NoiseSettings, seed: int, draw: int = 0) -> torch.Tensor:
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


def repeat_noise(noise: torch.Tensor, settings: NoiseSettings, seed: int, draw: int = 0) -> torch.Tensor:
    """Repeat the frames of the first window."""
    return noise[[frame % settings.length for frame in range(len(noise))]]


def share_noise(noise: torch.Tensor, settings: NoiseSettings, seed: int, draw: int = 0) -> torch.Tensor:
    """Use the noise of the first frame for all frames, which makes the clip calmer, and closer to a still."""
    return noise[[0] * len(noise)]


def seed_frames(noise: torch.Tensor, settings: NoiseSettings, seed: int, draw: int = 0) -> torch.Tensor:
    """Draw frame i with `seed` + i, as Stable Diffusion web UI does; the clip's length changes nothing."""
    if draw:
        return draw_frames(
            tuple(noise.shape), [seed + number for number in settings.number_frames(len(noise))], SEEDED, draw
        )
    return next(draw_seeded_frames(tuple(noise.shape), seed, settings.number_frames(len(noise))))


def stream_frames(noise: torch.Tensor, settings: NoiseSettings, seed: int, draw: int = 0) -> torch.Tensor:
    """Draw each frame from a stream that no other frame of any seed shares."""
    return draw_frames(tuple(noise.shape), settings.number_frames(len(noise)), seed, "frames", draw)


def move_with_camera(noise: torch.Tensor, settings: NoiseSettings, seed: int, draw: int = 0) -> torch.Tensor:
    """Move the noise of the first frame as a camera moves the picture."""
    positions = _find_camera_positions(settings, len(noise), *noise.shape[-2:])
    return warp_clip(noise[0].float().cpu(), positions, seed, "camera", draw)


def _find_camera_positions(settings: NoiseSettings, frames: int, height: int, width: int) -> torch.Tensor:
    path = settings.camera_path
    if path is None:
        return follow_camera(settings.camera, frames, height, width)
    check_length(path, frames)
    clip_path = replace(path, poses=path.poses[:frames], lenses=path.lenses[:frames])
    return follow_steps(find_picture_steps(clip_path, width, height), height, width)


def move_with_video(noise: torch.Tensor, settings: NoiseSettings, seed: int, draw: int = 0) -> torch.Tensor:
    """Move the noise of the first frame as a video moves."""
    assert settings.flows is not None
    positions = follow_flows(settings.flows[: len(noise) - 1], *noise.shape[-2:])
    return warp_clip(noise[0].float().cpu(), positions, seed, "video", draw)


NOISES: dict[str, Callable[[torch.Tensor, NoiseSettings, int, int], torch.Tensor]] = {
    "FreeNoise": free_noise,
    "repeated": repeat_noise,
    "same": share_noise,
    SEEDED: seed_frames,
    STREAM: stream_frames,
    CAMERA: move_with_camera,
    VIDEO: move_with_video,
}


def make_noise(noise: torch.Tensor, settings: NoiseSettings, seed: int, draw: int = 0) -> torch.Tensor:
    """Return noise of the kind of `settings` from white `noise`; all zeros, as where no noise is added, stay.

    `draw` numbers the noises of one run; 0 is the initial one.
    """
    if not noise.count_nonzero():
        return noise
    kind = NOISES[settings.kind](noise, settings, seed, draw).to(noise)
    return _mix_fresh(kind, settings, seed, draw)


def _mix_fresh(noise: torch.Tensor, settings: NoiseSettings, seed: int, draw: int) -> torch.Tensor:
    if not settings.fresh_noise:
        return noise
    fresh = draw_frames(tuple(noise.shape), settings.number_frames(len(noise)), seed, "fresh", draw)
    return mix(noise, fresh.to(noise), settings.fresh_noise)


def draw_step_noise(shape: tuple[int, ...], settings: NoiseSettings, seed: int) -> Iterator[torch.Tensor]:
    """Yield noise of the kind of `settings` for step after step, `shape` being that of the initial noise."""
    seeded = draw_seeded_frames(shape, seed, settings.number_frames(shape[0]))
    for draw in itertools.count():
        if settings.kind == SEEDED:
            noise = _mix_fresh(next(seeded), settings, seed, draw)
        else:
            noise = make_noise(draw_white(shape, seed, "step", draw), settings, seed, draw)
        if draw:
            yield noise


def add_video_noise(model: ModelPatcher, settings: NoiseSettings) -> ModelPatcher:
    """Return a clone of `model` that samples from such noise, instead of one that was set before.

    Context windows on the model replace the lengths of FreeNoise, wherever they are added.
    """
    settings.check()
    clone = model.clone()
    put_on_model(clone, VIDEO_NOISE, settings)
    add_wrapper_once(clone, WrappersMP.OUTER_SAMPLE, VIDEO_NOISE, check_and_add_step_noise)
    add_wrapper_once(clone, WrappersMP.SAMPLER_SAMPLE, VIDEO_NOISE, sample_from_video_noise)
    return clone


class ArrangedSeed(int):
    """The seed of a NOISE that is of such a kind already, so that a model with Video Noise leaves it as it is."""


def check_and_add_step_noise(
    executor,
    noise,
    latent_image,
    sampler,
    sigmas,
    denoise_mask=None,
    callback=None,
    disable_pbar=False,
    seed=None,
    **kwargs,
):
    """Wrapper of the host's guider: refuse what does not fit the clip, and let step noise follow the initial noise."""
    guider = executor.class_obj
    settings = fit_to_windows(guider.model_options["transformer_options"][VIDEO_NOISE], guider.model_options)
    check_clip(settings, tuple(noise.shape))
    settings = _follow_batch_index(settings, noise, seed or 0)
    if settings.in_steps:
        draws = draw_step_noise(tuple(noise.shape), settings, seed or 0)
        sampler = with_step_noise(sampler, draws, guider.model_patcher.load_device)
    with set_temporarily(guider.model_options, {VIDEO_NOISE: settings}):
        return executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs)


def _follow_batch_index(settings: NoiseSettings, noise: torch.Tensor, seed: int) -> NoiseSettings:
    """Return `settings` with the numbers that the host has given to frames, such as those of Latent From Batch."""
    if not settings.depends_on_numbers or isinstance(seed, ArrangedSeed) or not noise.count_nonzero():
        return settings
    return replace(settings, numbers=tuple(find_frame_numbers(noise, seed) or ()))


def check_clip(settings: NoiseSettings, shape: tuple[int, ...]) -> None:
    """Raise LoomError where noise of `shape` cannot be of the kind of `settings`."""
    if settings.kind not in (CAMERA, VIDEO):
        return
    if len(shape) != 4:
        raise LoomError(
            f"The latent has the shape {list(shape)}, but noise of the type '{settings.kind}' needs a batch of images "
            "[frames, channels, height, width]. Choose another `noise_type` of Video Noise."
        )
    frames, _, height, width = shape
    if settings.kind == CAMERA:
        find_box(_find_camera_positions(settings, frames, height, width), height, width)
    elif settings.flows is None or len(settings.flows) < frames - 1:
        length = 0 if settings.flows is None else len(settings.flows) + 1
        raise LoomError(
            f"The clip has {frames} frames, but the `images` of Video Noise only {length}. Load more frames of the "
            f"video, or make a clip of {length} frames."
        )


def sample_from_video_noise(executor, guider, sigmas, extra_args, callback, noise, *args, **kwargs):
    """Wrapper of the host's sampler: make the initial noise one of the kind on the model."""
    options, seed = extra_args["model_options"], extra_args["seed"]
    _log_other_lengths(options["transformer_options"][VIDEO_NOISE], options)
    if not isinstance(seed, ArrangedSeed):
        noise = arrange_noise(noise, options, seed or 0)
    return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)


def arrange_noise(noise: torch.Tensor, model_options: Mapping[str, Any], seed: int, draw: int = 0) -> torch.Tensor:
    """Return white `noise` as the Video Noise on a model makes it; without one, as it is.

    `draw` numbers the noises of one run; 0 is the initial one.
    """
    settings = model_options["transformer_options"].get(VIDEO_NOISE)
    if settings is None:
        return noise
    return make_noise(noise, fit_to_windows(settings, model_options), seed, draw)


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
