"""Cameras of a clip: positions, directions and lenses.

Axes are those of RealEstate10K and CameraCtrl: x to the right, y down, z forward. A pose is the
`[3, 4]` matrix from world to camera; the world is that of the camera at rest.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ...motion_modules.errors import LoomError

LENS = (0.474812461, 0.844111024, 0.5, 0.5)  # fx, fy, cx, cy of CameraCtrl, as parts of width and height
SOURCE_SIZE = (1280, 720)  # width and height of the videos that it was trained with


@dataclass(frozen=True, eq=False)
class CameraPath:
    """The camera of each frame.

    `poses` `[frames, 3, 4]` are from world to camera, and `lenses` `[frames, 4]` the fx, fy, cx and cy of
    videos of `source_size`, as parts of its width and height. `subject` `[3]` is a point of the world. All
    are of float64.
    """

    poses: torch.Tensor
    lenses: torch.Tensor
    subject: torch.Tensor
    source_size: tuple[int, int] = SOURCE_SIZE

    @property
    def frames(self) -> int:
        return len(self.poses)


@dataclass(frozen=True)
class Moves:
    """Where the camera of one frame is, relative to a camera at rest; angles are in degrees.

    The camera pans right, tilts up, rolls clockwise, moves right (truck), up (pedestal) and
    forward (dolly), and orbits to the right around the subject. `zoom` is a factor of the focal length.
    """

    pan: float = 0.0
    tilt: float = 0.0
    roll: float = 0.0
    zoom: float = 1.0
    dolly: float = 0.0
    truck: float = 0.0
    pedestal: float = 0.0
    orbit: float = 0.0


def place_camera(moves: Moves, distance: float) -> torch.Tensor:
    """Return the pose `[3, 4]`; the orbit is around the point `distance` before the camera at rest."""
    subject = place_subject(distance)
    orbit = rotate_y(-moves.orbit)
    place = torch.tensor((moves.truck, -moves.pedestal, moves.dolly), dtype=torch.float64)
    position = orbit @ (place - subject) + subject
    direction = orbit @ rotate_y(moves.pan) @ rotate_x(moves.tilt) @ rotate_z(moves.roll)
    return torch.cat((direction.T, -(direction.T @ position)[:, None]), dim=1)


def place_subject(distance: float) -> torch.Tensor:
    """Return the point `[3]` that is `distance` before the camera at rest.

    Raises:
        LoomError: it is not a finite number above 0.
    """
    if not 0 < distance < math.inf:
        required = "above 0" if math.isfinite(distance) else "a finite number"
        raise LoomError(f"`distance` is {distance}, but must be {required}. Change `distance`.")
    return torch.tensor((0.0, 0.0, distance), dtype=torch.float64)


def zoom_lens(zoom: float) -> torch.Tensor:
    """Return the lens `[4]` of CameraCtrl with its focal lengths times `zoom`."""
    return torch.tensor(LENS, dtype=torch.float64) * torch.tensor((zoom, zoom, 1, 1), dtype=torch.float64)


def rotate_x(degrees: float) -> torch.Tensor:
    """Return the rotation `[3, 3]` that lifts the direction forward to the direction up."""
    return _rotate(degrees, lambda c, s: ((1, 0, 0), (0, c, -s), (0, s, c)))


def rotate_y(degrees: float) -> torch.Tensor:
    """Return the rotation `[3, 3]` that turns the direction forward to the right."""
    return _rotate(degrees, lambda c, s: ((c, 0, s), (0, 1, 0), (-s, 0, c)))


def rotate_z(degrees: float) -> torch.Tensor:
    """Return the rotation `[3, 3]` that turns the direction to the right clockwise, which is down."""
    return _rotate(degrees, lambda c, s: ((c, -s, 0), (s, c, 0), (0, 0, 1)))


def _rotate(degrees: float, rows: Callable[[float, float], tuple[tuple[float, ...], ...]]) -> torch.Tensor:
    angle = math.radians(degrees)
    return torch.tensor(rows(math.cos(angle), math.sin(angle)), dtype=torch.float64)


def to_square(poses: torch.Tensor) -> torch.Tensor:
    """Return poses `[frames, 3, 4]` as `[frames, 4, 4]`."""
    last_row = poses.new_tensor((0.0, 0.0, 0.0, 1.0)).expand(len(poses), 1, 4)
    return torch.cat((poses, last_row), dim=1)


def from_first_camera(poses: torch.Tensor) -> torch.Tensor:
    """Return where each camera is for the camera of the first frame, `[frames, 4, 4]` from camera to world."""
    square = to_square(poses)
    return square[0] @ torch.linalg.inv(square)


def check_length(path: CameraPath, frames: int) -> None:
    """Raise LoomError when `path` ends before a clip of `frames`."""
    if path.frames < frames:
        raise LoomError(
            f"The clip has {frames} frames, but the camera path only {path.frames}. Raise `frames` of Camera Path to "
            f"{frames}."
        )
