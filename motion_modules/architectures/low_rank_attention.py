"""Attention along frames in few dimensions: a quarter of the channels, a sixteenth of the transformer's weights.

With Z the normalised tokens of one position, `[frames, channels]`, P learned positions, and r the rank:

    Q, K, V, S = (Z + P) W_Q, (Z + P) W_K, (Z + P) W_V, (Z + P) W_S         all W in R^(channels x r)
    out        = x + (softmax(Q K^T / sqrt(d)) V * (1 + S)) W_O             W_O in R^(r x channels), zero at the start

The change has rank r: Hu et al. 2022, "LoRA", section 4.1, with attention between its two factors.
Where a thing is depends on the product of which way it goes and which frame it is; values only add
the two, so the scale S multiplies them, a gate without a nonlinearity: Shazeer 2020, "GLU
variants", section 2. Heads have d = 8 dimensions each. The rank is read from the shapes of a file,
so that files of any rank load.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ..contract import MotionInputs, Shapes, SiteShape, Training, zero
from .attention import temporal_attention
from .positional_encoding import sinusoidal_positions
from .registry import motion_module

HEAD_WIDTH = 8


@dataclass(frozen=True)
class LowRankAttentionConfig:
    channels: int
    positions: int
    rank: int

    @classmethod
    def for_site(cls, site: SiteShape) -> "LowRankAttentionConfig":
        return cls(site.channels, site.positions, rank=site.channels // 4)

    @classmethod
    def from_shapes(cls, shapes: Shapes, training: Training) -> "LowRankAttentionConfig":
        (rank, channels), (positions, _) = shapes["to_q.weight"], shapes["positions"]
        if channels % 32 or rank % HEAD_WIDTH:
            raise ValueError(f"{channels} channels or a rank of {rank} are not divisible by 32 and {HEAD_WIDTH}")
        return cls(channels, positions, rank)


@motion_module("low_rank_attention", config=LowRankAttentionConfig, moves_positions=True)
class LowRankAttention(nn.Module):
    def __init__(self, config: LowRankAttentionConfig, ops=nn, **factory):
        super().__init__()
        self.config = config
        channels, rank = config.channels, config.rank
        self.norm = ops.GroupNorm(32, channels, eps=1e-6, **factory)
        table = sinusoidal_positions(config.positions, channels, factory.get("device"))[0]
        self.positions = nn.Parameter(table.to(factory.get("dtype")))
        self.to_q = ops.Linear(channels, rank, bias=False, **factory)
        self.to_k = ops.Linear(channels, rank, bias=False, **factory)
        self.to_v = ops.Linear(channels, rank, bias=False, **factory)
        self.to_scale = ops.Linear(channels, rank, bias=False, **factory)
        self.to_out = zero(ops.Linear(rank, channels, **factory))

    def forward(self, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`x` and the result are `[chunks * frames, channels, height, width]`."""
        inputs.require_positions(self.config.positions)

        def change(tokens: torch.Tensor) -> torch.Tensor:
            return inputs.in_views(tokens, lambda part: self.attend(part, inputs))

        return inputs.along_frames(x, self.norm(x), change)

    def attend(self, tokens: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`[chunks * positions, frames, channels]` in and out; every window of frames starts at position 0."""
        z = tokens + inputs.positions.take_rows(self.positions, tokens.shape[1]).to(tokens)
        q, k, v = self.to_q(z), self.to_k(z), self.to_v(z)
        heads = self.config.rank // HEAD_WIDTH
        mixed = temporal_attention(q, k, v, heads, inputs, source=self)
        return self.to_out(mixed * (1 + self.to_scale(z)))
