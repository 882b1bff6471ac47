"""Dense optical flow: the motion of every pixel from one picture to the next.

Lucas & Kanade 1981, "An iterative image registration technique with an application to stereo
vision", on a pyramid of pictures as in Bouguet 2000, "Pyramidal implementation of the Lucas Kanade
feature tracker".
"""

import torch
import torch.nn.functional as F

COARSEST = 16  # pixels of the shorter side, where the pyramid ends
ITERATIONS = 4
WINDOW = 7  # pixels: the neighbourhood that moves as one
DAMPING = 1e-5  # of squared gradients: flat areas keep the flow of the coarser picture
LONGEST_UPDATE = 1.0
SMOOTHING = 5
LEAST_GAIN = 1e-3


def estimate_flow(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Estimate the flow `w` `[pairs, 2, height, width]` in pixels, x then y, so that second(p + w(p)) is first(p).

    `first` and `second` are grey pictures `[pairs, 1, height, width]` from 0 to 1.
    """
    pyramid = _build_pyramid(first, second)
    flow = first.new_zeros(len(first), 2, *pyramid[-1][0].shape[2:])
    for finer_first, finer_second in reversed(pyramid):
        flow = _resize(flow, finer_first.shape[2:])
        for _ in range(ITERATIONS):
            flow = flow + _solve_step(finer_first, warp(finer_second, flow))
        flow = _stop_where_no_better(_average_around(flow, SMOOTHING), finer_first, finer_second)
    return flow


def warp(pictures: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Sample `pictures` where `flow` points, bilinearly; beyond the edge the last pixel is repeated."""
    x, y = _find_targets(flow)
    height, width = flow.shape[2:]
    grid = torch.stack((2 * x / max(1, width - 1) - 1, 2 * y / max(1, height - 1) - 1), dim=-1)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=True)


def stays_inside(flow: torch.Tensor) -> torch.Tensor:
    """Return `[pairs, 1, height, width]`, True where `flow` points into the picture."""
    x, y = _find_targets(flow)
    height, width = flow.shape[2:]
    return ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))[:, None]


def _find_targets(flow: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    height, width = flow.shape[2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    return x, y


def _build_pyramid(first: torch.Tensor, second: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    levels = [(_blur(first), _blur(second))]
    while min(levels[-1][0].shape[2:]) >= 2 * COARSEST:
        first, second = (F.avg_pool2d(picture, 2) for picture in levels[-1])
        levels.append((first, second))
    return levels


def _blur(pictures: torch.Tensor) -> torch.Tensor:
    """Blur slightly, so that gradients span more than one pixel."""
    return F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _resize(flow: torch.Tensor, size) -> torch.Tensor:
    """Scale a flow to pictures of another size."""
    factors = [size[1] / flow.shape[3], size[0] / flow.shape[2]]
    scaled = F.interpolate(flow, size=tuple(size), mode="bilinear", align_corners=False)
    return scaled * flow.new_tensor(factors).view(1, 2, 1, 1)


def _solve_step(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Solve the least-squares step of Lucas and Kanade in every window: -(sum g g^T)^-1 sum g (second - first)."""
    x, y = _compute_gradients((first + second) / 2)
    change = second - first
    products = torch.cat((x * x, x * y, y * y, x * change, y * change), dim=1)
    xx, xy, yy, xt, yt = _average_around(products, WINDOW).split(1, dim=1)
    xx, yy = xx + DAMPING, yy + DAMPING
    determinant = xx * yy - xy * xy
    step = torch.cat((xy * yt - yy * xt, xy * xt - xx * yt), dim=1) / determinant
    return step.clamp(-LONGEST_UPDATE, LONGEST_UPDATE)


def _stop_where_no_better(flow: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Set flow to zero where it matches the neighbourhood no better: flat areas must not move with their neighbours."""
    moved, still = (_average_around((other - first).abs(), WINDOW) for other in (warp(second, flow), second))
    return flow * (moved < still - LEAST_GAIN)


def _compute_gradients(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    padded = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return x, y


def _average_around(values: torch.Tensor, size: int) -> torch.Tensor:
    """Average over the square of `size` pixels around each pixel, from running sums."""
    margin = size // 2
    padded = F.pad(values, (margin + 1, margin, margin + 1, margin), mode="replicate")
    rows = padded.cumsum(dim=2)
    rows = rows[..., size:, :] - rows[..., :-size, :]
    both = rows.cumsum(dim=3)
    return (both[..., size:] - both[..., :-size]) / size**2
