"""Likeness of the frames of a clip to their reference picture: the tables of PIA, and curves.

With d the distance of a frame to its picture, and the table t of a range of motion,

    s(d) = t[min(d, len(t) - 1)]

Tables of loops are made for a clip of 16 frames that begins and ends with the picture. In a clip of
L frames they are stretched, s(d) = t(15 d / (L - 1)) with linear interpolation. Tables: Zhang et
al. 2024, "PIA: Your Personalized Image Animator", reference implementation.
"""

from collections.abc import Sequence
from math import floor

from ...motion_modules.errors import LoomError
from ..steering.curves import WrittenPoint, draw_curve
from .pictures import ClipPictures

LOOP = "loop, "
TABLES = {
    "small": (1.0, 0.9, 0.85, 0.85, 0.85, 0.8),
    "moderate": (1.0, 0.8, 0.8, 0.8, 0.79, 0.78, 0.75),
    "large": (1.0, 0.8, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5, 0.5),
    f"{LOOP}small": (1.0, 0.9, 0.85, 0.85, 0.85, *[0.8] * 7, 0.85, 0.85, 0.9, 1.0),
    f"{LOOP}moderate": (1.0, 0.8, 0.8, 0.8, 0.79, 0.78, *[0.75] * 5, 0.78, 0.79, 0.8, 0.8, 1.0),
    f"{LOOP}large": (1.0, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5, 0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.8, 1.0),
    "style, large": (0.5, 0.2),
    "style, moderate": (0.5, 0.4, 0.4, 0.4, 0.35, 0.35, 0.3, 0.25, 0.2),
    "style, small": (0.5, 0.4, 0.4, 0.4, 0.35, 0.3),
}
CURVE, CURVE_INPUT = "curve", "affinity_curve"


def look_up(motion_range: str, distance: int, frames: int) -> float:
    """Return the affinity of a frame at this `distance` to its picture, in a clip of `frames`."""
    table = TABLES[motion_range]
    if not motion_range.startswith(LOOP):
        return table[min(distance, len(table) - 1)]
    position = distance * (len(table) - 1) / max(1, frames - 1)
    before = min(floor(position), len(table) - 2)
    return table[before] + (position - before) * (table[before + 1] - table[before])


def list_affinities(pictures: ClipPictures, motion_range: str, curve: Sequence[WrittenPoint] = ()) -> tuple[float, ...]:
    """Return the affinity of each frame to its nearest picture, times the strength of that picture.

    With the range CURVE, `curve` has the affinity over the frames of the clip. Raise LoomError
    where it is empty or above 1.
    """
    frames = range(pictures.length)
    if motion_range == CURVE:
        values = _evaluate(curve, pictures.length)
    else:
        distances = [abs(frame - pictures.frames[pictures.find_nearest(frame)]) for frame in frames]
        values = [look_up(motion_range, distance, pictures.length) for distance in distances]
    return tuple(values[frame] * pictures.strengths[pictures.find_nearest(frame)] for frame in frames)


def _evaluate(curve: Sequence[WrittenPoint], frames: int) -> list[float]:
    if not curve:
        raise LoomError(
            f"`motion` is '{CURVE}', but `{CURVE_INPUT}` is empty. Write values over frames, such as "
            "`0: 1.0, 8: 0.7`, or choose another `motion`."
        )
    largest = max(point.value for point in curve)
    if largest > 1:
        raise LoomError(f"`{CURVE_INPUT}` has the value {largest:g}. Use values from 0 (free) to 1 (like the picture).")
    return draw_curve(curve, frames)
