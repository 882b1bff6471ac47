"""Poses as RealEstate10K and CameraCtrl publish them: a heading, then a line of 19 numbers for each frame.

A line is `time fx fy cx cy 0 0` and the rows of the `[3, 4]` matrix from world to camera. Some files hold the
width and height of the source video instead of the two zeros.
"""

import math
from collections.abc import Iterator, Sequence

import torch

from ...motion_modules.errors import LoomError, shorten
from ..prompts.keyframes import Place, mistake
from .poses import SOURCE_SIZE, CameraPath, place_subject

NUMBERS = 19
HEADING = "Camera path of AnimateDiff Loom"  # readers skip the first line
INPUT = "poses"
TOLERANCE = 1e-2  # of a rotation's rows, which some files round
LARGEST_SIZE = 2**16  # pixels


def read_poses(text: str, frames: int, distance: float) -> CameraPath:
    """Return the first `frames` poses of `text`, and a subject `distance` before the first camera.

    Raises:
        LoomError: the text has fewer of them, or a line is no pose; the error names the line.
    """
    rows: list[list[float]] = []
    for number, line in _list_lines(text):
        if len(rows) == frames:
            break
        rows.append(_read_line(line, number))
    if len(rows) < frames:
        raise LoomError(
            f"`{INPUT}` has {len(rows)} poses, but `frames` is {frames}. Lower `frames`, or add a line for each frame."
        )
    table = torch.tensor(rows, dtype=torch.float64)
    poses = table[:, 7:].reshape(-1, 3, 4)
    subject = poses[0, :, :3].T @ (place_subject(distance) - poses[0, :, 3])
    return CameraPath(poses, table[:, 1:5], subject, _find_source_size(rows[0]))


def write_poses(path: CameraPath) -> str:
    """Return `path` as a text that `read_poses` reads, and other programs too."""
    size = (0, 0) if path.source_size == SOURCE_SIZE else path.source_size
    lines = [
        [frame, *lens, *size, *pose]
        for frame, (lens, pose) in enumerate(zip(path.lenses.tolist(), path.poses.flatten(1).tolist(), strict=True))
    ]
    return "\n".join([HEADING, *(" ".join(f"{value + 0.0:.9g}" for value in line) for line in lines)])


def _list_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines that are not empty, and their numbers from 1; a heading without numbers is left out."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines and not _is_number(lines[0][1].split()[0]):
        lines = lines[1:]
    yield from lines


def _read_line(line: str, number: int) -> list[float]:
    words = line.split()
    wrong = next((word for word in words if not _is_number(word)), None)
    if wrong is not None:
        raise _refuse(number, f"'{shorten(wrong, 20)}'", f"{NUMBERS} numbers separated by spaces")
    if len(words) != NUMBERS:
        count = f"{len(words)} number{'s' * (len(words) != 1)}"
        raise _refuse(number, count, f"{NUMBERS}: time, fx, fy, cx, cy, 0, 0 and a 3 x 4 matrix from world to camera")
    values = [float(word) for word in words]
    if min(values[1:3]) <= 0:
        raise _refuse(number, f"the focal lengths {values[1]:g} and {values[2]:g}", "two numbers above 0")
    if not _is_rotation(values[7:]):
        raise _refuse(number, "a matrix whose first three columns are not a rotation", "one from world to camera")
    return values


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _is_rotation(values: Sequence[float]) -> bool:
    rotation = torch.tensor(values, dtype=torch.float64).reshape(3, 4)[:, :3]
    error = (rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max()
    return bool(error <= TOLERANCE) and float(torch.linalg.det(rotation)) > 0


def _find_source_size(row: Sequence[float]) -> tuple[int, int]:
    width, height = row[5:7]
    is_size = 1 <= width <= LARGEST_SIZE and 1 <= height <= LARGEST_SIZE
    return (round(width), round(height)) if is_size else SOURCE_SIZE


def _refuse(number: int, actual: str, expected: str) -> LoomError:
    return mistake(Place(number, 1, INPUT), actual, expected)
