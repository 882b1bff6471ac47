"""Curves as users type them, `0: 1.0 ease_out, 16: 0.2`, over the frames of a clip or over sampling.

    value(p) = v_i + ease_i((p - p_i) / (p_(i+1) - p_i)) (v_(i+1) - v_i),      p_i <= p < p_(i+1)

Before the first point a curve has the first value, after the last point the last one.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...motion_modules.errors import shorten
from ...motion_modules.unet.site_patterns import SEPARATORS
from ..prompts.keyframes import FRACTION, FRAME, PERCENT, Place, Position, check_position, locate, mistake
from ..prompts.line_notation import COLONS
from ..prompts.schedule import EASINGS

LARGEST = 10.0
EXAMPLE = "`16: 0.2`"

_entry_pattern = rf"(?:(?!{SEPARATORS}).)+"
NUMBER = r"\d+(?:\.\d*)?|\.\d+"
POSITION = rf"(?P<position>{NUMBER})\s*(?P<percent>[%\uff05]?)"
_point_pattern = (
    rf"{POSITION}\s*[{COLONS}]\s*"
    rf"(?P<bracket>\()?\s*(?P<value>[-+]?(?:{NUMBER}))\s*(?(bracket)\))\s*(?P<easing>[A-Za-z_]*)"
)


class CurvePoint(NamedTuple):
    """A value at a position, and the easing from there to the next point."""

    position: float
    value: float
    easing: str = "linear"


@dataclass(frozen=True)
class WrittenPoint:
    """A point as it is written; its frame may depend on the length of the clip."""

    position: Position
    value: float
    easing: str


def read_frame_curve(text: str, input_name: str) -> tuple[WrittenPoint, ...]:
    """Return the points of a curve over frame numbers and percentages of the clip; none for an empty text.

    Raise PromptScheduleError, which names `input_name`.
    """
    points = _read_points(text, input_name, FRAME)
    if len({point.position.unit for point in points}) == 1:
        place_points(points, frames=1001)  # the order of points of one unit is the same for all lengths
    return points


def read_progress_curve(text: str, input_name: str) -> tuple[CurvePoint, ...]:
    """Return the points of a curve over sampling progress, 0 to 1 or a percentage; none for an empty text.

    Raise PromptScheduleError, which names `input_name`.
    """
    points = _read_points(text, input_name, FRACTION)
    return _in_order(points, [_to_progress(point.position) for point in points], "position")


def place_points(points: Sequence[WrittenPoint], frames: int) -> tuple[CurvePoint, ...]:
    """Return the points of a curve over a clip of `frames`. Raise PromptScheduleError when they are not in order."""
    return _in_order(points, [locate(point.position, frames, 0) for point in points], "frame")


def evaluate_curve(points: Sequence[CurvePoint], position: float) -> float:
    """Return the value of a curve of at least one point."""
    number = bisect_right(points, position, key=lambda point: point.position)
    if number == 0 or number == len(points):
        return points[max(0, number - 1)].value
    before, after = points[number - 1], points[number]
    ease: Callable[[float], float] = EASINGS[before.easing]
    t = ease((position - before.position) / (after.position - before.position))
    return before.value + t * (after.value - before.value)


def draw_curve(points: Sequence[WrittenPoint], frames: int) -> list[float]:
    """Return the value of a curve of at least one point at each frame of a clip."""
    placed = place_points(points, frames)
    return [evaluate_curve(placed, frame) for frame in range(frames)]


def read_position(match: re.Match[str], place: Place, unit: str = FRAME) -> Position:
    """Return the position in a match of POSITION: a percentage, else of this `unit`. Raise PromptScheduleError."""
    written = shorten(match["position"] + match["percent"], 20)
    return check_position(Position(written, float(match["position"]), place, PERCENT if match["percent"] else unit))


def parse_value(text: str, place: Place) -> float:
    """Return a strength as it is written. Raise PromptScheduleError for one outside of 0 to LARGEST."""
    value = float(text) if re.fullmatch(rf"[-+]?(?:{NUMBER})", text) else -1.0
    if not 0 <= value <= LARGEST:
        raise mistake(place, f"the value '{shorten(text, 20)}'", f"a value from 0 to {LARGEST:g}")
    return value


def split_entries(text: str, input_name: str) -> list[tuple[str, Place]]:
    """Return the parts between commas, Chinese ones too, semicolons and ends of lines, and where they begin."""
    entries: list[tuple[str, Place]] = []
    for match in re.finditer(_entry_pattern, text, re.DOTALL):
        if entry := match[0].strip():
            start = match.start() + match[0].index(entry)
            line_start = text.rfind("\n", 0, start) + 1
            entries.append((entry, Place(text.count("\n", 0, start) + 1, start - line_start + 1, input_name)))
    return entries


def _read_points(text: str, input_name: str, unit: str) -> tuple[WrittenPoint, ...]:
    return tuple(_read_point(entry, place, unit) for entry, place in split_entries(text, input_name))


def _read_point(entry: str, place: Place, unit: str) -> WrittenPoint:
    match = re.fullmatch(_point_pattern, entry)
    if match is None:
        example = EXAMPLE if unit == FRAME else "`0.5: 0.2`"
        raise mistake(place, f"'{shorten(entry, 40)}'", f"a position, a colon and a value, such as {example}")
    easing = match["easing"] or "linear"
    if easing not in EASINGS:
        raise mistake(place, f"the easing '{shorten(easing, 20)}'", f"one of {', '.join(EASINGS)}")
    return WrittenPoint(read_position(match, place, unit), parse_value(match["value"], place), easing)


def _to_progress(position: Position) -> float:
    return position.value / 100 if position.unit == PERCENT else position.value


def _in_order(points: Sequence[WrittenPoint], positions: Sequence[float], noun: str) -> tuple[CurvePoint, ...]:
    for number in range(1, len(points)):
        if positions[number] <= positions[number - 1]:
            written = points[number].position
            placed = f" (frame {positions[number]:g})" if noun == "frame" and written.unit == PERCENT else ""
            raise mistake(written.place, written.text + placed, f"a {noun} after {positions[number - 1]:g}")
    return tuple(CurvePoint(at, point.value, point.easing) for at, point in zip(positions, points, strict=True))
