"""Convolutions along frames at every position: the same for every frame number, so for clips of any length.

With z_f the normalised features of frame f at one position, and k the kernel, an odd number of frames:

    out = x + W_2 * gelu(W_1 * z),      (W * z)_f = sum_(|j| <= k/2) W_j z_(f+j)

Beyond its ends a clip counts as zero, which is how frames can tell that an end is near. W_2 is zero
at the start. Sources: Singer et al. 2022, "Make-A-Video", section 3.2.1 (a 1D convolution over time
after the layers of a 2D model, the identity at initialisation); Blattmann et al. 2023, "Align your
Latents", section 3.1.

One module sees k - 1 frames to each side; after 20 layers of a UNet that is every frame of a clip.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from ..contract import UNLIMITED, MotionInputs, Shapes, SiteShape, Training, zero
from .registry import motion_module

KERNEL = 5


@dataclass(frozen=True)
class TemporalConvolutionConfig:
    """`kernel` is the number of frames under each of the two convolutions."""

    channels: int
    positions: int = UNLIMITED
    kernel: int = KERNEL

    @classmethod
    def for_site(cls, site: SiteShape) -> "TemporalConvolutionConfig":
        return cls(site.channels)

    @classmethod
    def from_shapes(cls, shapes: Shapes, training: Training) -> "TemporalConvolutionConfig":
        channels, _, kernel = shapes["conv_in.weight"]
        if channels % 32 or kernel % 2 == 0:
            raise ValueError(
                f"{channels} channels are not divisible by 32 norm groups, or a kernel of {kernel} is even"
            )
        return cls(channels, kernel=kernel)


@motion_module("temporal_convolution", config=TemporalConvolutionConfig, attends=False)
class TemporalConvolution(nn.Module):
    def __init__(self, config: TemporalConvolutionConfig, ops=nn, **factory):
        super().__init__()
        channels, kernel = config.channels, config.kernel
        self.norm = ops.GroupNorm(32, channels, eps=1e-6, **factory)
        self.conv_in = ops.Conv1d(channels, channels, kernel, padding=kernel // 2, **factory)
        self.conv_out = zero(ops.Conv1d(channels, channels, kernel, padding=kernel // 2, **factory))

    def forward(self, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`x` and the result are `[chunks * frames, channels, height, width]`."""
        return inputs.along_frames(x, self.norm(x), lambda tokens: inputs.in_views(tokens, self.convolve))

    def convolve(self, tokens: torch.Tensor) -> torch.Tensor:
        """`[chunks * positions, frames, channels]` in and out."""
        hidden = F.gelu(self.conv_in(rearrange(tokens, "n frame c -> n c frame")))
        return rearrange(self.conv_out(hidden), "n c frame -> n frame c")
