"""A rectangle of a picture, which is evaluated as if it were the whole picture."""

from dataclasses import dataclass

import torch

PIXELS = 8  # of a picture, along each side, in one place of its latent


@dataclass(frozen=True)
class Tile:
    """Rectangle of `height` x `width` places from `top` and `left`, in a picture with `picture` (height, width)."""

    top: int
    left: int
    height: int
    width: int
    picture: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    def cut(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return a view of this part of `pictures`, `[..., height, width]`."""
        return pictures[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def scale(self, factor: int) -> "Tile":
        """Return the same part of a picture that is `factor` times as large."""
        height, width = self.picture
        sides = (factor * side for side in (self.top, self.left, self.height, self.width))
        return Tile(*sides, picture=(factor * height, factor * width))

    def crop(self, top: int, left: int, height: int, width: int) -> "Tile":
        """Return the part of the picture that is at `top` and `left` of this tile."""
        return Tile(self.top + top, self.left + left, height, width, self.picture)
