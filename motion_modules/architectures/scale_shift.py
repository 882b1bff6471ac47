"""Scale and shift by the timestep, and a fixed mixing of frames: no attention, and hardly any arithmetic.

With z_f the normalised features of frame f at one position, e the timestep embedding and p_f the
sinusoid of f:

    (s_f, b_f) = MLP(e + p_f)                      a scale and a shift for each channel
    v_f        = W_in ((1 + s_f) z_f + b_f)
    out_f      = x_f + W_out gelu(v_f + sum_g softmax(A)_fg v_g)

Scale and shift: Perez et al. 2018, "FiLM", section 2; from the timestep: Dhariwal and Nichol 2021,
section 3.1. Mixing by learned weights that no content changes: Tay et al. 2021, "Synthesizer", the
random one; each of the heads has a matrix A of its own, whose softmax runs over the frames that are
there. W_out is zero at the start.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from ..contract import MotionInputs, Shapes, SiteShape, Training, zero
from .positional_encoding import sinusoidal_positions
from .registry import motion_module

HEADS, INNER = 8, 128


@dataclass(frozen=True)
class ScaleShiftConfig:
    """`time_channels` is the width of the timestep embedding, `inner` that of the MLP that reads it."""

    channels: int
    positions: int
    time_channels: int
    heads: int = HEADS
    inner: int = INNER

    @classmethod
    def for_site(cls, site: SiteShape) -> "ScaleShiftConfig":
        return cls(site.channels, site.positions, site.time_channels)

    @classmethod
    def from_shapes(cls, shapes: Shapes, training: Training) -> "ScaleShiftConfig":
        inner, time_channels = shapes["modulation.0.weight"]
        (channels,), (heads, positions, _) = shapes["norm.weight"], shapes["mixing"]
        if channels % 32 or channels % heads:
            raise ValueError(f"{channels} channels are not divisible by 32 norm groups and {heads} heads")
        return cls(channels, positions, time_channels, heads, inner)


@motion_module("scale_shift", config=ScaleShiftConfig, attends=False)
class ScaleShift(nn.Module):
    def __init__(self, config: ScaleShiftConfig, ops=nn, **factory):
        super().__init__()
        self.config = config
        channels, inner = config.channels, config.inner
        self.norm = ops.GroupNorm(32, channels, eps=1e-6, **factory)
        self.modulation = nn.Sequential(
            ops.Linear(config.time_channels, inner, **factory), nn.SiLU(), ops.Linear(inner, 2 * channels, **factory)
        )
        self.proj_in = ops.Linear(channels, channels, **factory)
        self.mixing = nn.Parameter(torch.randn(config.heads, config.positions, config.positions, **factory))
        self.proj_out = zero(ops.Linear(channels, channels, **factory))

    def forward(self, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`x` and the result are `[chunks * frames, channels, height, width]`; `inputs.time_embedding` is needed."""
        inputs.require_positions(self.config.positions)
        scale, shift = self.scale_and_shift(inputs.time_per_chunk(), inputs.attended_frames)

        def change(tokens: torch.Tensor) -> torch.Tensor:
            return self.proj_out(inputs.in_views(tokens, lambda part: self.mix(part, scale, shift)))

        return inputs.along_frames(x, self.norm(x), change)

    def scale_and_shift(self, time: torch.Tensor, frames: int) -> tuple[torch.Tensor, ...]:
        """Two of `[chunks, 1, frames, channels]`, for embeddings `[chunks, time_channels]`."""
        of_frames = sinusoidal_positions(frames, time.shape[1], time.device).to(time)
        return self.modulation(time[:, None] + of_frames)[:, None].chunk(2, dim=-1)

    def mix(self, tokens: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """`[chunks * positions, frames, channels]` in and out; of scale and shift, the first frames count."""
        frames, heads = tokens.shape[1], self.config.heads
        z = rearrange(tokens, "(chunk position) frame c -> chunk position frame c", chunk=len(scale))
        z = z * (1 + scale[:, :, :frames]) + shift[:, :, :frames]
        v = self.proj_in(rearrange(z, "chunk position frame c -> (chunk position) frame c"))
        weights = self.mixing[:, :frames, :frames].to(v).softmax(dim=-1)
        values = rearrange(v, "n frame (head d) -> n frame head d", head=heads)
        mixed = torch.einsum("hfg,nghd->nfhd", weights, values)
        return F.gelu(v + rearrange(mixed, "n frame head d -> n frame (head d)"))
