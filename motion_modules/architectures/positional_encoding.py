import math

import torch
from torch import nn

from ..frame_positions import AS_TRAINED, FramePositions


def sinusoidal_positions(length: int, channels: int, device=None, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return `[1, length, channels]`: sin and cos of p * 10000^(-2i/C) in turn (Vaswani et al. 2017, section 3.5)."""
    frequency = torch.exp(torch.arange(0, channels, 2, device=device, dtype=dtype) * (-math.log(10000.0) / channels))
    angle = torch.arange(length, device=device, dtype=dtype)[:, None] * frequency
    return torch.stack((angle.sin(), angle.cos()), dim=-1).reshape(1, length, channels)


def choose_positions(stored: torch.Tensor | None, length: int, channels: int) -> torch.Tensor:
    """Return the table of a file if it is exact or was changed on purpose, else the formula that was rounded."""
    if stored is not None and stored.dtype.itemsize >= 4:
        return stored.float()
    formula = sinusoidal_positions(length, channels)
    if stored is None:
        return formula
    rounding = torch.finfo(stored.dtype).eps
    changed = (stored.float() - formula).abs().max() > max(1e-3, rounding)
    return stored.float() if changed else formula


class PositionalEncoding(nn.Module):
    """Adds a row of the table to each frame of `[positions, frames, channels]`; each context window begins at row 0."""

    pe: torch.Tensor

    def __init__(self, length: int, channels: int, device=None):
        super().__init__()
        self.register_buffer("pe", sinusoidal_positions(length, channels, device))

    def forward(self, tokens: torch.Tensor, positions: FramePositions = AS_TRAINED) -> torch.Tensor:
        return tokens + positions.take_rows(self.pe, tokens.shape[1]).to(tokens)
