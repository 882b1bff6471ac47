"""Joint attention over space and time: every position of every frame of a clip attends to every other.

With Z all normalised tokens of a clip, `[frames * height * width, channels]`, and P sinusoids of frame, row, column:

    Q, K, V = (Z + P) W_Q, (Z + P) W_K, (Z + P) W_V
    out     = x + softmax(Q K^T / sqrt(d)) V W_O,              W_O zero at the start

Arnab et al. 2021, "ViViT", section 3.3, model 1 (spatio-temporal attention); Bertasius et al. 2021, "TimeSformer",
section 3 (joint space-time attention). The arithmetic grows with the square of the number of tokens, so that only the
coarse sites of a UNet can have it: at 512 pixels and 16 frames a first-level site has 65536 tokens, a fourth-level one
1024. A moving thing is followed from where it was, which attention along frames at one position cannot do.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ..attention import temporal_attention
from ..contract import ClipShape, MotionInputs, NewSite, Shapes, Training, zero
from ..positional_encoding import sinusoidal_positions
from ..registry import motion_module

HEADS, MOST_TOKENS = 8, 16384


@dataclass(frozen=True)
class SpaceTimeAttentionConfig:
    channels: int
    positions: int

    @classmethod
    def for_site(cls, site: NewSite) -> "SpaceTimeAttentionConfig":
        return cls(site.channels, site.positions)

    @classmethod
    def from_shapes(cls, shapes: Shapes, training: Training) -> "SpaceTimeAttentionConfig":
        """The number of frames does not show in the weights; it is that of the training."""
        channels, _ = shapes["to_q.weight"]
        if channels % 32:
            raise ValueError(f"{channels} channels are not divisible by 32 norm groups")
        return cls(channels, training.default_positions)


def too_many_tokens(config: SpaceTimeAttentionConfig, clip: ClipShape) -> str:
    if clip.tokens <= MOST_TOKENS:
        return ""
    return (
        f"{clip.tokens} tokens ({clip.frames} frames of {clip.height} x {clip.width}) would all attend to each other, "
        f"and at most {MOST_TOKENS} are affordable"
    )


@motion_module("space_time_attention", config=SpaceTimeAttentionConfig, objection=too_many_tokens)
class SpaceTimeAttention(nn.Module):
    def __init__(self, config: SpaceTimeAttentionConfig, ops=nn, **factory):
        super().__init__()
        self.config = config
        channels = config.channels
        self.norm = ops.GroupNorm(32, channels, eps=1e-6, **factory)
        self.to_q = ops.Linear(channels, channels, bias=False, **factory)
        self.to_k = ops.Linear(channels, channels, bias=False, **factory)
        self.to_v = ops.Linear(channels, channels, bias=False, **factory)
        self.to_out = zero(ops.Linear(channels, channels, **factory))

    def forward(self, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`x` and the result are `[chunks * frames, channels, height, width]`."""
        inputs.require_positions(self.config.positions)
        tokens = self.norm(x).unflatten(0, (-1, inputs.frames)).movedim(2, -1)
        change = inputs.in_views(tokens, lambda part: self.attend(part, inputs))
        return inputs.add(x, change.movedim(-1, 2).flatten(0, 1))

    def attend(self, tokens: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`[chunks, frames, height, width, channels]` in and out."""
        z = (tokens + positions(tokens)).flatten(1, 3)
        q, k, v = self.to_q(z), self.to_k(z), self.to_v(z)
        attended = temporal_attention(q, k, v, HEADS, inputs.attention_scale, inputs.host_options, source=self)
        return self.to_out(attended).view(tokens.shape)


def positions(tokens: torch.Tensor) -> torch.Tensor:
    """`[frames, height, width, channels]`: half of the channels tell the frame, a quarter each the row and column."""
    *counts, channels = tokens.shape[1:]
    widths = (channels // 2, channels // 4, channels // 4)
    tables = [sinusoidal_positions(n, width, tokens.device)[0] for n, width in zip(counts, widths, strict=True)]
    frame, row, column = tables[0][:, None, None], tables[1][None, :, None], tables[2][None, None]
    return torch.cat([table.expand(*counts, -1) for table in (frame, row, column)], dim=-1).to(tokens)
