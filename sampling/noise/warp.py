"""Warp white noise exactly: every frame stays white noise of unit variance while it moves.

After Deng et al. 2025, "Infinite-Resolution Integral Noise Warping for Video Diffusion Models". A
pixel of the source has the value x, and the pixels that it moves to request parts of it by their
bilinear weights. The parts are increments of a Brownian bridge that ends at x, so they add up to x
and are independent:

    d_r = w_r x + sqrt(w_r) z_r - w_r sum_j sqrt(w_j) z_j,    var(d_r) = w_r,    sum_r w_r = 1

with normal z. A pixel of the result adds its parts and divides by sqrt(sum w). An expansion to m
pixels (w = 1/m) gives x / sqrt(m) + z_r - mean(z), as in Chang et al. 2024, "How I Warped Your
Noise"; one pixel that moves to one other (w = 1) stays x, bit by bit.
"""

from dataclasses import dataclass

import torch

from ...motion_modules.errors import LoomError
from .seeds import draw_plane

GRID = 2**16  # steps per pixel to which positions are rounded, so that whole pixels are exact
MAX_PLANE = 2**22  # pixels of noise that the frames of a clip may move across


@dataclass(frozen=True)
class Requests:
    """The parts that one frame requests: for each, a pixel of the source, of the frame, a weight and a slot.

    All are `[4, pixels of the frame]`. No two requests for one source pixel have the same slot.
    """

    sources: torch.Tensor
    weights: torch.Tensor
    slots: torch.Tensor


def split(
    x: torch.Tensor, sources: torch.Tensor, weights: torch.Tensor, z: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Split the source values `x` `[channels, pixels]` into the parts d `[channels, requests]`; also return their w.

    `sources` and `weights` `[requests]` say what each request takes, and `z` `[channels, requests]` is white noise.
    """
    totals = weights.new_zeros(x.shape[1]).index_add_(0, sources, weights)
    w = torch.nan_to_num(weights / totals[sources])
    steps = w.sqrt() * z
    sums = torch.zeros_like(x).index_add_(1, sources, steps)
    return w * x[:, sources] + (steps - w * sums[:, sources]), w


def find_requests(positions: torch.Tensor, width: int) -> Requests:
    """Return which pixels of a plane `width` pixels wide each pixel of a frame takes a part of.

    `positions` `[pixels, 2]` are rows and columns in the plane, which holds the pixels around all of them.
    """
    positions = (positions.double() * GRID).round() / GRID
    corner = positions.floor()
    (low_y, low_x), (y, x) = (corner - positions + 1).float().T, corner.long().T
    high_y, high_x = 1 - low_y, 1 - low_x
    first = y * width + x
    sources = torch.stack((first, first + 1, first + width, first + width + 1))
    weights = torch.stack((low_y * low_x, low_y * high_x, high_y * low_x, high_y * high_x))
    return Requests(sources, weights, _number_slots(sources))


def warp(plane: torch.Tensor, z: torch.Tensor, wanted: Requests) -> torch.Tensor:
    """Return a frame `[channels, pixels]` of the noise `plane` `[channels, pixels]`.

    `z` `[slots, channels, pixels]` is white noise of the plane's pixels. The same `z` for all frames
    makes the parts change as gradually as the positions.
    """
    sources, weights = wanted.sources.flatten(), wanted.weights.flatten()
    parts, w = split(plane, sources, weights, z[wanted.slots.flatten(), :, sources].T)
    shape = wanted.sources.shape
    return parts.unflatten(1, shape).sum(dim=1) / w.view(shape).sum(dim=0).sqrt()


def warp_clip(first: torch.Tensor, positions: torch.Tensor, *key: int | str) -> torch.Tensor:
    """Return noise `[frames, channels, height, width]` whose pixels come from `positions` of an unbounded plane.

    `first` `[channels, height, width]` is the plane's part at row and column 0, and `key` names the stream of
    the rest. `positions` `[frames, height, width, 2]` are rows and columns.
    """
    channels, height, width = first.shape
    top, left, rows, columns = find_box(positions, height, width)
    plane = draw_plane(channels, top, left, rows, columns, *key, "plane").clone()
    plane[:, -top : height - top, -left : width - left] = first
    origin = torch.tensor((top, left))
    frames = [find_requests((frame - origin).flatten(0, 1), columns) for frame in positions]
    slots = max(int(wanted.slots.max()) for wanted in frames) + 1
    z = torch.stack([draw_plane(channels, top, left, rows, columns, *key, "slot", slot) for slot in range(slots)])
    plane, z = plane.flatten(1), z.flatten(2)
    return torch.stack([warp(plane, z, wanted).view(first.shape) for wanted in frames])


def find_box(positions: torch.Tensor, height: int, width: int) -> tuple[int, int, int, int]:
    """Return top, left, rows and columns of the pixels around `positions` and around the first frame.

    Raises:
        LoomError: they are more than MAX_PLANE.
    """
    ends = positions.flatten(0, -2)
    top, left = (min(0, int(low)) for low in ends.amin(dim=0).floor())
    bottom, right = (
        max(size, int(high) + 2) for size, high in zip((height, width), ends.amax(dim=0).floor(), strict=True)
    )
    rows, columns = bottom - top, right - left
    if rows * columns > MAX_PLANE:
        raise LoomError(
            f"The noise moves across {columns} x {rows} latent pixels in this clip, more than {MAX_PLANE} in all. "
            "Lower the pan, or bring the zoom closer to 1."
        )
    return top, left, rows, columns


def _number_slots(sources: torch.Tensor) -> torch.Tensor:
    """Number the requests of each source pixel, so that requests from the same corner differ by multiples of 4."""
    corners = torch.arange(4)[:, None]
    keys = (sources * 4 + corners).flatten()
    ordered, order = keys.sort(stable=True)
    places = torch.arange(len(keys))
    starts = torch.where(torch.cat((ordered.new_ones(1, dtype=torch.bool), ordered[1:] != ordered[:-1])), places, 0)
    ranks = torch.empty_like(places)
    ranks[order] = places - starts.cummax(dim=0).values
    return ranks.view(sources.shape) * 4 + corners
