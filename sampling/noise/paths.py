"""Where the pixels of each frame come from: a camera that pans, zooms and rolls, or the flow of a video.

Positions are `[frames, height, width, 2]`, rows and columns in latent pixels of the first frame,
which they may leave.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

STRAIGHT, BACK = "straight", "there and back"
PATHS = (STRAIGHT, BACK)


@dataclass(frozen=True)
class Camera:
    """Motion of the picture from one frame to the next: pan in latent pixels, zoom as a factor, roll in degrees.

    The picture moves right and down, grows, and turns clockwise. With the path BACK it returns
    after half of the clip, so that the frame after the last is the first again.
    """

    pan_x: float = 0.0
    pan_y: float = 0.0
    zoom: float = 1.0
    roll: float = 0.0
    path: str = STRAIGHT


def follow_camera(camera: Camera, frames: int, height: int, width: int) -> torch.Tensor:
    """Return the positions of a clip seen by `camera`."""
    numbers = [frame if camera.path == STRAIGHT else min(frame, frames - frame) for frame in range(frames)]
    return follow_steps([camera] * max(numbers), height, width)[numbers]


def follow_steps(steps: Sequence[Camera], height: int, width: int) -> torch.Tensor:
    """Return the positions of a frame at rest and of one after each step."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) - (height - 1) / 2,
        torch.arange(width, dtype=torch.float64) - (width - 1) / 2,
        indexing="ij",
    )
    points, middle = torch.stack((y, x), dim=-1), torch.tensor(((height - 1) / 2, (width - 1) / 2), dtype=torch.float64)
    return torch.stack([points @ matrix.T + shift + middle for matrix, shift in combine_steps(steps)])


def combine_steps(steps: Sequence[Camera]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield A and b of a frame at rest and of one after each step: a point p - c comes from A (p - c) + b.

    Zoom and roll are about the middle c. One step is p' = c + z R (p - c) + v, so p = c + R^T (p' - v - c) / z.
    """
    matrix, shift = torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    yield matrix, shift
    for step in steps:
        matrix = matrix @ _invert_step(step)
        shift = shift - matrix @ torch.tensor((step.pan_y, step.pan_x), dtype=torch.float64)
        yield matrix, shift


def _invert_step(camera: Camera) -> torch.Tensor:
    """Return R^T / z for rows and columns."""
    angle = math.radians(camera.roll)
    cos, sin = math.cos(angle) / camera.zoom, math.sin(angle) / camera.zoom
    return torch.tensor(((cos, -sin), (sin, cos)), dtype=torch.float64)


def follow_flows(flows: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return the positions of a clip that moves as a video does.

    `flows` `[frames - 1, 2, rows, columns]`, x then y in pixels of the video, say for each frame
    after the first where its pixels were in the frame before.
    """
    scale = flows.new_tensor((width / flows.shape[3], height / flows.shape[2])).view(1, 2, 1, 1)
    flows = F.interpolate(flows, size=(height, width), mode="area") * scale
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    still = torch.stack((y, x), dim=-1).float()
    positions = [still]
    for flow in flows.flip(1).permute(0, 2, 3, 1):
        positions.append(_look_up(positions[-1], still + flow))
    return torch.stack(positions)


def _look_up(positions: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return `positions` at `points`, bilinearly; beyond the edge they continue as they are at the edge."""
    ends = points.new_tensor(positions.shape[:2]) - 1
    inside = torch.minimum(points.clamp(min=0), ends)
    grid = (2 * inside / ends.clamp(min=1) - 1).flip(-1)
    values = F.grid_sample(positions.permute(2, 0, 1)[None], grid[None], align_corners=True)[0].permute(1, 2, 0)
    return values + (points - inside)
