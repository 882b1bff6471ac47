"""Measurement of a clip, a few frames at a time."""

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F

from ...motion_modules.errors import LoomError
from ...sampling.windows.schedules import WindowLayout, static_windows
from .colour import convert_to_lab
from .optical_flow import estimate_flow, stays_inside, warp
from .video_metrics import VideoMetrics

LONGEST_SIDE = 256  # pixels: flow and colours are measured on pictures of at most this size
FASTEST = 0.05  # the share of a picture whose motion VBench's dynamic degree looks at
PAIRS_AT_ONCE = 8
LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


def measure_video(images: torch.Tensor, context_length: int = 0, context_overlap: int = 0) -> VideoMetrics:
    """Measure `images` `[frames, height, width, 3 or more]`, RGB from 0 to 1.

    Seams are measured at the borders of static windows of `context_length` frames with
    `context_overlap` frames in common, unless `context_length` is 0. Raises LoomError for a single
    frame, NaN, and impossible windows.
    """
    _check(images, context_length, context_overlap)
    steps = [step for frames in _split_frames(images) for step in _measure_steps(frames)]
    changes, flickers, motions, fastest = zip(*steps, strict=True)
    height, width = images.shape[1:3]
    return VideoMetrics(
        width=width,
        height=height,
        changes=changes,
        flickers=flickers,
        motions=motions,
        fastest=fastest,
        loop_change=_measure_loop_change(images),
        colours=tuple(colour for part in _split_frames(images, shared=0) for colour in _measure_colours(part)),
        borders=find_window_borders(len(images), context_length, context_overlap),
    )


def find_window_borders(frames: int, context_length: int, context_overlap: int) -> tuple[int, ...]:
    """Return the steps, numbered by their first frame, where a static window begins or ends."""
    if not 0 < context_length < frames:
        return ()
    windows = static_windows(frames, WindowLayout(context_length, context_overlap))
    begins, ends = {window[0] - 1 for window in windows}, {window[-1] for window in windows}
    return tuple(sorted((begins | ends) - {-1, frames - 1}))


def _check(images: torch.Tensor, context_length: int, context_overlap: int) -> None:
    if images.ndim != 4 or len(images) < 2 or images.shape[3] < 3:
        raise LoomError(
            f"`images` has the shape {list(images.shape)}, but metrics need [frames, height, width, 3] with at least 2 "
            "frames. Connect all frames of a clip, for instance from VAE Decode."
        )
    if context_length:
        WindowLayout(context_length, context_overlap).check()
    for number, frame in enumerate(images):
        if not frame.sum().isfinite():
            raise LoomError(
                f"Frame {number} of `images` has a NaN or Inf, so the clip cannot be measured. "
                "Use Sampling Report on the model to find its origin."
            )


def _split_frames(images: torch.Tensor, shared: int = 1) -> Iterator[torch.Tensor]:
    """Yield a few frames at a time, `[frames, 3, height, width]`; with one shared, every step lies in one part."""
    for start in range(0, len(images) - shared, PAIRS_AT_ONCE):
        yield images[start : start + PAIRS_AT_ONCE + shared, ..., :3].float().clamp(0, 1).movedim(-1, 1)


def _measure_loop_change(images: torch.Tensor) -> float:
    """Measure the change from the last frame to the first, as from each frame to the next."""
    last, first = next(_split_frames(images[[-1, 0]], shared=0))
    return float((first - last).abs().mean())


def _measure_steps(frames: torch.Tensor) -> Iterator[tuple[float, float, float, float]]:
    """Yield change, flicker, mean motion and fastest motion from each frame to the next."""
    changes = [float((second - first).abs().mean()) for first, second in pairwise(frames)]
    grey = _convert_to_grey(_shrink(frames))
    flow = estimate_flow(grey[:-1], _match_brightness(grey[:-1], grey[1:]))
    inside = stays_inside(flow)
    difference = (warp(grey[1:], flow) - grey[:-1]).abs() * inside
    flickers = difference.sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3)).clamp(min=1)
    lengths = flow.norm(dim=1).flatten(1) * (max(frames.shape[2:]) / max(grey.shape[2:]))
    fastest = lengths.topk(max(1, round(FASTEST * lengths.shape[1])), dim=1).values.mean(dim=1)
    yield from zip(changes, flickers.tolist(), lengths.mean(dim=1).tolist(), fastest.tolist(), strict=True)


def estimate_colour_flow(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Estimate the flow `[pairs, 2, height, width]` from pictures `[pairs, 3, height, width]` to others."""
    first, second = _convert_to_grey(first), _convert_to_grey(second)
    return estimate_flow(first, _match_brightness(first, second))


def _convert_to_grey(frames: torch.Tensor) -> torch.Tensor:
    return (frames * frames.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _match_brightness(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Subtract the median change of brightness from `second`: optical flow would take it for motion."""
    return second - (second - first).flatten(1).median(dim=1).values.view(-1, 1, 1, 1)


def _measure_colours(frames: torch.Tensor) -> Iterator[tuple[float, float, float, float]]:
    """Yield means over each picture: L*, a*, b*, and the chroma C* = |(a*, b*)|."""
    colours = convert_to_lab(_shrink(frames))
    chroma = colours[:, 1:].norm(dim=1, keepdim=True)
    yield from map(tuple, torch.cat((colours, chroma), dim=1).mean(dim=(2, 3)).tolist())


def _shrink(frames: torch.Tensor) -> torch.Tensor:
    """Reduce pictures whose longer side is above LONGEST_SIDE to that size."""
    height, width = frames.shape[2:]
    factor = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(1, round(height * factor)), max(1, round(width * factor))
    return F.interpolate(frames, size=size, mode="area")
