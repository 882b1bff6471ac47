"""Fusion weights: how much each frame of a context window counts where windows overlap.

Tiles are blended in the same way along each side of a picture; a place is then what a frame is here.
"""

import math
from collections.abc import Callable, Sequence

from .schedules import Window

OVERLAP_LINEAR = "overlap-linear"
MIN_WEIGHT = 1e-6  # above 0, so that a frame which only one window has keeps its prediction
GAUSSIAN_WIDTH = 0.25  # standard deviation, in window lengths


def pyramid(count: int) -> list[float]:
    """Return 1, 2 ... 2, 1: highest in the middle (Qiu et al. 2024, "FreeNoise")."""
    return [float(min(number + 1, count - number)) for number in range(count)]


def flat(count: int) -> list[float]:
    return [1.0] * count


def relative(count: int) -> list[float]:
    """Return weights that fall in a straight line from the middle to a hundredth at the ends."""
    middle = (count - 1) / 2
    return [max(0.01, 1 - abs(number - middle) / (middle + 0.005)) for number in range(count)]


def gaussian(count: int) -> list[float]:
    middle, width = (count - 1) / 2, GAUSSIAN_WIDTH * count
    return [math.exp(-((number - middle) ** 2) / (2 * width**2)) for number in range(count)]


SHAPES: dict[str, Callable[[int], list[float]]] = {
    "pyramid": pyramid,
    "flat": flat,
    "relative": relative,
    "gaussian": gaussian,
}
FUSIONS = (*SHAPES, OVERLAP_LINEAR)


def blend(windows: Sequence[Window], fusion: str, frames: int, overlap: int, loops: bool = False) -> list[list[float]]:
    """Return a weight for each frame of each window, such that the weights of a frame add up to 1 over all windows."""
    weights = [fusion_weights(fusion, window, frames, overlap, loops) for window in windows]
    totals = [0.0] * frames
    for window, window_weights in zip(windows, weights, strict=True):
        for frame, weight in zip(window, window_weights, strict=True):
            totals[frame] += weight
    return [
        [weight / totals[frame] for frame, weight in zip(window, window_weights, strict=True)]
        for window, window_weights in zip(windows, weights, strict=True)
    ]


def fusion_weights(fusion: str, window: Window, frames: int, overlap: int, loops: bool) -> list[float]:
    """Return a positive weight for each frame of `window` in a clip of `frames`; one that `loops` has no ends.

    Weights are relative to each other: `blend` divides them by their sum over all windows.
    """
    if fusion == OVERLAP_LINEAR:
        return overlap_linear(len(window), overlap, loops or window[0] > 0, loops or window[-1] < frames - 1)
    return SHAPES[fusion](len(window))


def overlap_linear(count: int, overlap: int, ramp_up: bool, ramp_down: bool) -> list[float]:
    """Return 1 with a straight ramp over the overlap, at the start if `ramp_up` and at the end if `ramp_down`."""
    ramp = [MIN_WEIGHT + (1 - MIN_WEIGHT) * number / max(1, overlap - 1) for number in range(min(overlap, count))]
    ramp += [1.0] * (count - len(ramp))
    rising = ramp if ramp_up else flat(count)
    falling = ramp[::-1] if ramp_down else flat(count)
    return [min(pair) for pair in zip(rising, falling, strict=True)]
