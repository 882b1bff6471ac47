"""Which frames are denoised together in each sampling step, and how much each window counts where windows overlap.

Uniform schedules are those of AnimateDiff's long-video sampling (magic-research/magic-animate), static ones ComfyUI's.
Frames are numbers from 0; a window is a tuple of frames in the order in which the model sees them.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

Window = tuple[int, ...]
STEP_BITS = 64


@dataclass(frozen=True)
class WindowSettings:
    """`length` frames in a window, of which it shares `overlap` with the next.

    `stride` - 1 more passes take every second, every fourth ... frame; `closed_loop` adds the window that closes the
    circle of a looped schedule.
    """

    length: int = 16
    overlap: int = 4
    stride: int = 1
    closed_loop: bool = False

    @property
    def advance(self) -> int:
        return self.length - self.overlap


def static_windows(frames: int, settings: WindowSettings, step: int = 0) -> list[Window]:
    """The same windows in every step, the last one moved back to end with the clip."""
    if frames <= settings.length:
        return [tuple(range(frames))]
    last = frames - settings.length
    starts = [*range(0, last, settings.advance), last]
    return [tuple(range(start, start + settings.length)) for start in starts]


def batched_windows(frames: int, settings: WindowSettings, step: int = 0) -> list[Window]:
    """One window behind another without overlap, the last one shorter."""
    starts = range(0, frames, settings.length)
    return [tuple(range(start, min(start + settings.length, frames))) for start in starts]


def looped_windows(frames: int, settings: WindowSettings, step: int = 0) -> list[Window]:
    """Windows on the circle of all frames, which start elsewhere in every step, so that no seam stays in place.

    A clip of one window or less is turned as a whole, so that its last frame and its first are neighbours as well.
    """
    if frames <= settings.length:
        return [_on_circle(_turn(frames, step), 1, frames, frames)]
    rounds = (_round(frames, settings, step, dilation) for dilation in _dilations(frames, settings))
    return list(dict.fromkeys(chain.from_iterable(rounds)))


def cyclic_windows(frames: int, step: int = 0) -> list[Window]:
    """The whole clip twice, begun half a clip apart, so that each end is the middle of one of the two."""
    turn = _turn(frames, step)
    return [_on_circle(start, 1, frames, frames) for start in (turn, turn + frames // 2)]


def uniform_windows(frames: int, settings: WindowSettings, step: int = 0) -> list[Window]:
    """Windows that start elsewhere in every step; one that would run over the end is moved back to end with the clip.

    Where the frames behind its wrap would then be missing, a window that starts with them is added.
    """
    if frames <= settings.length:
        return [tuple(range(frames))]
    open_settings = WindowSettings(settings.length, settings.overlap, settings.stride)
    windows: list[Window] = []
    for dilation in _dilations(frames, settings):
        windows += _without_wraps(list(_round(frames, open_settings, step, dilation)), frames, dilation)
    return list(dict.fromkeys(windows))


SCHEDULES: dict[str, Callable[[int, WindowSettings, int], list[Window]]] = {
    "static": static_windows,
    "uniform": uniform_windows,
    "looped": looped_windows,
    "batched": batched_windows,
}


def _dilations(frames: int, settings: WindowSettings) -> list[int]:
    """1, 2, 4 ...: distances between the frames of a window, as long as a window has room in the clip.

    The schedule as published goes on beyond that and then has a frame twice in one window.
    """
    passes = min(settings.stride, math.ceil(math.log2(frames / settings.length)) + 1)
    return [2**number for number in range(passes) if 2**number * max(1, settings.length - 1) < frames]


def _round(frames: int, settings: WindowSettings, step: int, dilation: int) -> Iterator[Window]:
    """Windows of one dilation, once around the circle."""
    turn, advance = _turn(frames, step), settings.length * dilation - settings.overlap
    end = frames + turn - (0 if settings.closed_loop else settings.overlap)
    for start in range(int(_bit_reversed(step) * dilation) + turn, end, advance):
        yield _on_circle(start, dilation, settings.length, frames)


def _without_wraps(windows: list[Window], frames: int, dilation: int) -> list[Window]:
    found: list[Window] = []
    for window, following in zip(windows, [*windows[1:], ()], strict=True):
        behind_wrap = next((b for a, b in pairwise(window) if b < a), None)
        if behind_wrap is None:
            found.append(window)
            continue
        reach = (len(window) - 1) * dilation
        found.append(tuple(range(frames - 1 - reach, frames, dilation)))
        if behind_wrap not in following and behind_wrap + reach < frames:
            found.append(tuple(range(behind_wrap, behind_wrap + reach + 1, dilation)))
    return found


def _on_circle(start: int, dilation: int, length: int, frames: int) -> Window:
    return tuple((start + number * dilation) % frames for number in range(length))


def _turn(frames: int, step: int) -> int:
    return round(frames * _bit_reversed(step))


def _bit_reversed(step: int) -> float:
    """0, 1/2, 1/4, 3/4, 1/8 ...: the bits of `step` behind the point in reverse order (van der Corput)."""
    return int(f"{step:0{STEP_BITS}b}"[::-1], 2) / 2**STEP_BITS
