"""Tiles: parts of a picture that are denoised one after another, so that memory does not grow with the picture.

Bar-Tal et al. 2023, "MultiDiffusion": the prediction for a large picture is the weighted mean of the
predictions for overlapping parts of it. Tiles are placed along both sides like static windows along
a clip, and the weight of a place is the product of its weights along both sides.
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum

from ...motion_modules.errors import LoomError
from ...motion_modules.tile import PIXELS, Tile
from .fusion import blend
from .schedules import Window, WindowLayout, static_windows


@dataclass(frozen=True)
class TileLayout:
    """Side of square tiles, and what a tile shares with the next one, in pixels of the picture."""

    size: int = 512
    overlap: int = 128

    def check(self) -> None:
        """Raise LoomError for tiles that do not fit latents, or would not advance over the picture."""
        for name, value in (("tile_size", self.size), ("tile_overlap", self.overlap)):
            if value % PIXELS:
                raise LoomError(
                    f"`{name}` is {value}, but must be a multiple of {PIXELS}, since one place of a latent stands for "
                    f"{PIXELS} x {PIXELS} pixels. Use {value - value % PIXELS} or {value - value % PIXELS + PIXELS}."
                )
        if self.overlap >= self.size:
            raise LoomError(
                f"`tile_overlap` is {self.overlap} and `tile_size` is {self.size}. "
                "Set `tile_overlap` below `tile_size`."
            )

    def check_model(self, model: Any) -> None:
        """Raise LoomError when `model`, the host's BaseModel, cannot evaluate such a tile."""
        ratio = getattr(model.latent_format, "spacial_downscale_ratio", PIXELS)
        if ratio != PIXELS:
            raise LoomError(
                f"Tiles need a model whose latents are {PIXELS} times smaller than the picture, but those of `model` "
                f"are {ratio} times smaller. Set `tiles` to none."
            )
        halvings = len(model.model_config.unet_config.get("channel_mult", [1])) - 1
        smallest = PIXELS * 2**halvings
        if self.size < smallest:
            raise LoomError(
                f"`tile_size` is {self.size}, but this UNet halves its picture {halvings} times and needs at least "
                f"{smallest}. Raise `tile_size`."
            )

    def divides(self, height: int, width: int) -> bool:
        """Return whether a latent of this size has more than one tile."""
        return max(height, width) * PIXELS > self.size

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the tiles of a latent of this size; none is larger than the latent."""
        side = self.size // PIXELS
        return min(side, height), min(side, width)

    def place(self, length: int) -> list[Window]:
        """Return the places of each tile along one side of a latent; the last tile is moved back to end with it."""
        return static_windows(length, WindowLayout(self.size // PIXELS, self.overlap // PIXELS))


@dataclass(frozen=True)
class WeightedTile:
    """A tile of a latent, and the `weights` of its places, `[height, width]`; in all tiles they add up to 1."""

    tile: Tile
    weights: torch.Tensor


def weigh_tiles(layout: TileLayout, fusion: str, height: int, width: int) -> tuple[WeightedTile, ...]:
    """Return the tiles of a latent of this size, all equally large, row by row."""
    rows, columns = (_weigh_side(layout, fusion, length) for length in (height, width))
    return tuple(
        WeightedTile(
            Tile(row[0], column[0], len(row), len(column), (height, width)),
            einsum(row_weights, column_weights, "row, column -> row column"),
        )
        for row, row_weights in rows
        for column, column_weights in columns
    )


def _weigh_side(layout: TileLayout, fusion: str, length: int) -> list[tuple[Window, torch.Tensor]]:
    parts = layout.place(length)
    weights = blend(parts, fusion, length, layout.overlap // PIXELS)
    return [(part, torch.tensor(part_weights)) for part, part_weights in zip(parts, weights, strict=True)]
