"""Moves of a camera as users type them, a keyframe a line: `0: pan 0 ease_in_out` and `100%: pan 20, zoom 1.2`.

A move that begins after frame 0 starts at rest: `100%: pan 20` pans during the whole clip. An easing after a
value is the pace from there to the next value of the same move.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict

import torch

from ...motion_modules.errors import shorten
from ...motion_modules.unet.site_patterns import SEPARATORS
from ..prompts.keyframes import Place, Position, mistake
from ..prompts.line_notation import COLONS
from ..prompts.schedule import EASINGS
from ..steering.curves import NUMBER, POSITION, CurvePoint, WrittenPoint, evaluate_curve, place_points, read_position
from .poses import CameraPath, Moves, place_camera, place_subject, zoom_lens

EXAMPLE = "`100%: pan 20, dolly 0.5`"
INPUT = "keyframes"
AT_REST = asdict(Moves())
ANGLE, LENGTH = (-3600.0, 3600.0), (-100.0, 100.0)
LIMITS = {
    "pan": ANGLE,
    "tilt": ANGLE,
    "roll": ANGLE,
    "zoom": (0.1, 10.0),
    "dolly": LENGTH,
    "truck": LENGTH,
    "pedestal": LENGTH,
    "orbit": ANGLE,
}

_line_pattern = rf"\s*{POSITION}\s*[{COLONS}]"
_move_pattern = rf"(?P<move>[A-Za-z]+)\s*(?P<value>[-+]?(?:{NUMBER}))\s*(?P<easing>[A-Za-z_]*)"
_part_pattern = rf"(?:(?!{SEPARATORS}).)+"


def follow_keyframes(text: str, frames: int, easing: str, distance: float) -> CameraPath:
    """Return the path that `text` describes, with `easing` where it names none. Raise PromptScheduleError."""
    curves = read_curves(text, frames, easing)
    moves = [
        Moves(**{move: evaluate_curve(points, frame) for move, points in curves.items()}) for frame in range(frames)
    ]
    poses = torch.stack([place_camera(each, distance) for each in moves])
    return CameraPath(poses, torch.stack([zoom_lens(each.zoom) for each in moves]), place_subject(distance))


def read_curves(text: str, frames: int, easing: str) -> dict[str, list[CurvePoint]]:
    """Return the points of each move that `text` has, from frame 0 on. Raise PromptScheduleError."""
    written: dict[str, list[WrittenPoint]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        for move, point in _read_line(line, number) if line.strip() else ():
            written.setdefault(move, []).append(point)
    if not written:
        raise mistake(Place(1, 1, INPUT), "nothing", f"a keyframe such as {EXAMPLE}")
    return {move: _make_curve(move, points, frames, easing) for move, points in written.items()}


def _make_curve(move: str, written: list[WrittenPoint], frames: int, easing: str) -> list[CurvePoint]:
    last = written[-1]
    if last.easing:
        expected = f"it at the keyframe where the move begins, such as `0: {move} {AT_REST[move]:g} {last.easing}`"
        raise mistake(last.position.place, f"the easing '{last.easing}' after the last value of {move}", expected)
    placed = place_points(written, frames)
    points = [CurvePoint(point.position, point.value, point.easing or easing) for point in placed]
    return [CurvePoint(0, AT_REST[move], easing), *points] if points[0].position > 0 else points


def _read_line(line: str, number: int) -> Iterator[tuple[str, WrittenPoint]]:
    match = re.match(_line_pattern, line)
    if match is None:
        place = Place(number, len(line) - len(line.lstrip()) + 1, INPUT)
        expected = f"a frame or a percentage, a colon and moves, such as {EXAMPLE}"
        raise mistake(place, f"'{shorten(line.strip(), 40)}'", expected)
    position = read_position(match, Place(number, match.start("position") + 1, INPUT))
    parts = [part for part in re.finditer(_part_pattern, line[match.end() :]) if part[0].strip()]
    if not parts:
        raise mistake(Place(number, match.end() + 1, INPUT), "nothing", "a move and its value, such as `pan 20`")
    for part in parts:
        start = match.end() + part.start() + len(part[0]) - len(part[0].lstrip())
        yield _read_move(part[0].strip(), Place(number, start + 1, INPUT), position)


def _read_move(text: str, place: Place, position: Position) -> tuple[str, WrittenPoint]:
    match = re.fullmatch(_move_pattern, text)
    if match is None:
        raise mistake(place, f"'{shorten(text, 40)}'", "a move and its value, such as `pan 20`")
    move, easing = match["move"].lower(), match["easing"].lower()
    if move not in LIMITS:
        raise mistake(place, f"the move '{shorten(move, 20)}'", f"one of {', '.join(LIMITS)}")
    if easing and easing not in EASINGS:
        raise mistake(place, f"the easing '{shorten(easing, 20)}'", f"one of {', '.join(EASINGS)}")
    value, (low, high) = float(match["value"]), LIMITS[move]
    if not low <= value <= high:
        raise mistake(place, f"'{shorten(text, 40)}'", f"a {move} from {low:g} to {high:g}")
    return move, WrittenPoint(position, value, easing)
