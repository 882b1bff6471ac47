"""Parts of encoders whose features have the sizes of the UNet's levels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

KEPT_BYTES = 2**28  # of features that stay on the device; larger ones stay in the memory of the CPU


class ResidualBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, halves: bool, ops, **factory):
        super().__init__()
        self.halves = halves
        self.in_conv = None if channels_in == channels else ops.Conv2d(channels_in, channels, 1, **factory)
        self.block1 = ops.Conv2d(channels, channels, 3, padding=1, **factory)
        self.block2 = ops.Conv2d(channels, channels, 1, **factory)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = halve(x) if self.halves else x
        x = x if self.in_conv is None else self.in_conv(x)
        return x + self.block2(F.relu(self.block1(x)))


def halve(x: torch.Tensor) -> torch.Tensor:
    """Return the means of squares of 2 x 2; an odd side is continued first, so that sizes are those of the UNet."""
    height, width = x.shape[-2:]
    return F.avg_pool2d(F.pad(x, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def make_room(features: torch.Tensor, frames: int, encoded: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return zeros for the `features` of all frames, on their device if those of all scales are small enough."""
    size = sum(each[0].numel() for each in encoded) * frames * features.element_size()
    device = features.device if size <= KEPT_BYTES else torch.device("cpu")
    return features.new_zeros((frames, *features.shape[1:]), device=device)
