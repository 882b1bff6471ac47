"""Motion of the picture while the camera follows a path, for noise that moves with it.

The scene is taken for as far away as the subject, so the picture shifts, grows and turns from frame to frame.
"""

import math

import torch

from ...motion_modules.errors import LoomError
from ..noise.paths import Camera
from .poses import CameraPath, to_square
from .rays import fit_lenses

NEAREST = 0.1  # part of the subject's distance that one frame may come close to it


def find_picture_steps(path: CameraPath, width: int, height: int) -> list[Camera]:
    """Return how the picture, `width` x `height` pixels, moves from each frame to the next.

    Raises:
        LoomError: the camera passes the subject, or turns by about 90 degrees at once.
    """
    poses, lenses = to_square(path.poses), fit_lenses(path, width, height)
    cameras = torch.linalg.inv(poses)
    distances = (cameras[:, :3, 3] - path.subject).norm(dim=1)
    return [
        _find_step(poses[frame] @ cameras[frame - 1], float(distances[frame - 1]), lenses[frame - 1 : frame + 1], frame)
        for frame in range(1, path.frames)
    ]


def _find_step(change: torch.Tensor, depth: float, lenses: torch.Tensor, frame: int) -> Camera:
    """Return the motion of a picture `depth` before a camera when `change` leads to the next camera's view of it."""
    x, y, z, _ = (change @ change.new_tensor((0.0, 0.0, depth, 1.0))).tolist()
    if not z > NEAREST * depth:
        raise LoomError(
            f"From frame {frame - 1} to {frame}, the camera passes the subject or turns away from it, which noise "
            "cannot follow. Raise `distance` of Camera Path, or spread the move over more frames."
        )
    (fx_before, _, _, _), (fx, fy, _, _) = lenses.tolist()
    turn = math.atan2(float(change[1, 0] - change[0, 1]), float(change[0, 0] + change[1, 1]))
    return Camera(fx * x / z, fy * y / z, fx / fx_before * depth / math.hypot(x, y, z), math.degrees(turn))
