"""Context schedules: the windows of frames that are denoised together in each sampling step.

`ContextSettings.plan_windows` calls the schedule that the user chose, once per step. Uniform
schedules are those of AnimateDiff's long-video sampling (magic-research/magic-animate), static ones
are ComfyUI's. Frames are numbered from 0. A window is a tuple of frames, in the order in which the
model sees them.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

from ...motion_modules.errors import LoomError

Window = tuple[int, ...]
STEP_BITS = 64


@dataclass(frozen=True)
class WindowLayout:
    """Size and spacing of windows: `length` frames each, of which a window shares `overlap` with the next.

    A `stride` of n adds up to n - 1 passes, which take every second, fourth ... frame.
    `closed_loop` joins the end of the clip to its start in a looped schedule.
    """

    length: int = 16
    overlap: int = 4
    stride: int = 1
    closed_loop: bool = False

    @property
    def advance(self) -> int:
        """Frames from the start of a window to the start of the next."""
        return self.length - self.overlap

    def check(self) -> None:
        """Raise LoomError when a window would not start after the previous one."""
        if self.overlap >= self.length:
            raise LoomError(
                f"`context_overlap` is {self.overlap} and `context_length` is {self.length}. "
                "Set `context_overlap` below `context_length`."
            )


def static_windows(frames: int, layout: WindowLayout, step: int = 0) -> list[Window]:
    """Return the same windows in every step; the last one is moved back to end with the clip."""
    if frames <= layout.length:
        return [tuple(range(frames))]
    last_start = frames - layout.length
    starts = [*range(0, last_start, layout.advance), last_start]
    return [tuple(range(start, start + layout.length)) for start in starts]


def batched_windows(frames: int, layout: WindowLayout, step: int = 0) -> list[Window]:
    """Return consecutive windows without overlap; the last one may be shorter."""
    starts = range(0, frames, layout.length)
    return [tuple(range(start, min(start + layout.length, frames))) for start in starts]


def looped_windows(frames: int, layout: WindowLayout, step: int = 0) -> list[Window]:
    """Return windows on the circle of all frames, with a new start in every step so that no seam stays in place.

    A clip that fits in one window is rotated as a whole, so that its last and first frames become
    neighbours. Without `closed_loop`, return the uniform windows, none of which crosses the end. The
    published looped schedule crosses it in both cases. In a closed loop without overlap, windows that
    would all begin or stop at the end start a quarter of a window later.
    """
    if not layout.closed_loop:
        return uniform_windows(frames, layout, step)
    if frames <= layout.length:
        return [_wrap(_rotation(frames, step), 1, frames, frames)]
    windows = _turn_windows(frames, layout, step)
    if any((frames - 1, 0) in pairwise(window) for window in windows):
        return windows
    return _turn_windows(frames, layout, step, shift=max(1, layout.length // 4))


def _turn_windows(frames: int, layout: WindowLayout, step: int, shift: int = 0) -> list[Window]:
    """Return the windows of all dilations on the circle of all frames, `shift` frames later."""
    passes = (_circle_windows(frames, layout, step, dilation, shift) for dilation in _dilations(frames, layout))
    return list(dict.fromkeys(chain.from_iterable(passes)))


def cyclic_windows(frames: int, step: int = 0) -> list[Window]:
    """Return the whole clip twice, rotated by half its length, so that each end is in the middle of one window."""
    start = _rotation(frames, step)
    return [_wrap(start, 1, frames, frames), _wrap(start + frames // 2, 1, frames, frames)]


def uniform_windows(frames: int, layout: WindowLayout, step: int = 0) -> list[Window]:
    """Return windows with a new start in every step; one that would pass the end is moved back to end with the clip.

    Where this would leave out the frames after its wrap, a window that starts with them is added.
    """
    if frames <= layout.length:
        return [tuple(range(frames))]
    open_layout = WindowLayout(layout.length, layout.overlap, layout.stride)
    windows: list[Window] = []
    for dilation in _dilations(frames, layout):
        windows += _unwrap(list(_circle_windows(frames, open_layout, step, dilation)), frames, dilation)
    return list(dict.fromkeys(windows))


SCHEDULES: dict[str, Callable[[int, WindowLayout, int], list[Window]]] = {
    "static": static_windows,
    "uniform": uniform_windows,
    "looped": looped_windows,
    "batched": batched_windows,
}


def _dilations(frames: int, layout: WindowLayout) -> list[int]:
    """Return 1, 2, 4 ...: the distances between the frames of a window, up to the longest that fits in the clip.

    The published schedule continues beyond that, and then repeats frames within a window.
    """
    passes = min(layout.stride, math.ceil(math.log2(frames / layout.length)) + 1)
    return [2**number for number in range(passes) if 2**number * max(1, layout.length - 1) < frames]


def _circle_windows(frames: int, layout: WindowLayout, step: int, dilation: int, shift: int = 0) -> Iterator[Window]:
    """Yield the windows of one dilation, once around the circle, `shift` frames later."""
    rotation, advance = _rotation(frames, step) + shift, layout.length * dilation - layout.overlap
    start = int(_reverse_bits(step) * dilation) + rotation
    end = frames + rotation - (0 if layout.closed_loop else layout.overlap)
    for first in range(start, end, advance):
        yield _wrap(first, dilation, layout.length, frames)


def _unwrap(windows: list[Window], frames: int, dilation: int) -> list[Window]:
    unwrapped: list[Window] = []
    for window, next_window in zip(windows, [*windows[1:], ()], strict=True):
        wrapped_to = next((b for a, b in pairwise(window) if b < a), None)
        if wrapped_to is None:
            unwrapped.append(window)
            continue
        reach = (len(window) - 1) * dilation
        unwrapped.append(tuple(range(frames - 1 - reach, frames, dilation)))
        if wrapped_to not in next_window and wrapped_to + reach < frames:
            unwrapped.append(tuple(range(wrapped_to, wrapped_to + reach + 1, dilation)))
    return unwrapped


def _wrap(start: int, dilation: int, length: int, frames: int) -> Window:
    """Return a window on the circle of `frames`."""
    return tuple((start + number * dilation) % frames for number in range(length))


def _rotation(frames: int, step: int) -> int:
    return round(frames * _reverse_bits(step))


def _reverse_bits(step: int) -> float:
    """Return 0, 1/2, 1/4, 3/4, 1/8 ...: the bits of `step`, reversed, after the binary point (van der Corput)."""
    return int(f"{step:0{STEP_BITS}b}"[::-1], 2) / 2**STEP_BITS
