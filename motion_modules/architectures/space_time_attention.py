"""Joint attention over space and time: every position of every frame of a clip attends to every other.

With Z all normalised tokens of a clip, `[frames * height * width, channels]`, and beside them P,
their places: sines and cosines of the numbers of frame, row and column times 1, 1/2, 1/4 and 1/8,
which repeat after 50:

    Q, K, V, S = [Z P] W_Q, [Z P] W_K, [Z P] W_V, [Z P] W_S
    out        = x + (softmax(Q K^T / sqrt(d)) V * (1 + S)) W_O,              W_O zero at the start

Arnab et al. 2021, "ViViT", section 3.3, model 1 (spatio-temporal attention); Bertasius et al. 2021,
"TimeSformer", section 3 (joint space-time attention). A moving thing is followed from where it was,
which attention along frames at one position cannot do. Where a thing is depends on the product of
which way it goes and which frame it is; values only add the two, so the scale S multiplies them, a
gate without a nonlinearity: Shazeer 2020, "GLU variants", section 2.

At the start the parts of W_Q and W_K that read a token's row and column are equal, so that a fresh
module looks at the same place in all frames, and learns from there. The arithmetic grows with the
square of the number of tokens, so that only coarse sites can have it: at 512 pixels and 16 frames a
first-level site has 65536 tokens, a fourth-level one 1024.
"""

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import nn

from ..contract import ClipShape, MotionInputs, Shapes, SiteShape, Training, zero
from .attention import temporal_attention
from .registry import motion_module

HEAD_WIDTH, MOST_TOKENS = 32, 16384
FREQUENCIES, SHARPNESS = 4, 4.0
OF_AN_AXIS = 2 * FREQUENCIES


@dataclass(frozen=True)
class SpaceTimeAttentionConfig:
    channels: int
    positions: int

    @classmethod
    def for_site(cls, site: SiteShape) -> "SpaceTimeAttentionConfig":
        return cls(site.channels, site.positions)

    @classmethod
    def from_shapes(cls, shapes: Shapes, training: Training) -> "SpaceTimeAttentionConfig":
        """Return the config; the number of frames is that of the training, since weights do not show it."""
        channels, _ = shapes["to_q.weight"]
        if channels % 32:
            raise ValueError(f"{channels} channels are not divisible by 32 norm groups")
        return cls(channels, training.default_positions)


def find_size_objection(config: SpaceTimeAttentionConfig, clip: ClipShape) -> str:
    if clip.tokens <= MOST_TOKENS:
        return ""
    return (
        f"{clip.tokens} tokens ({clip.frames} frames of {clip.height} x {clip.width}) would all attend to each other, "
        f"and the maximum is {MOST_TOKENS}"
    )


@motion_module("space_time_attention", config=SpaceTimeAttentionConfig, objection=find_size_objection)
class SpaceTimeAttention(nn.Module):
    def __init__(self, config: SpaceTimeAttentionConfig, ops=nn, **factory):
        super().__init__()
        self.config = config
        channels = config.channels
        self.norm = ops.GroupNorm(32, channels, eps=1e-6, **factory)
        seen = channels + 3 * OF_AN_AXIS
        self.to_q = init_at_same_place(ops.Linear(seen, channels, bias=False, **factory))
        self.to_k = init_at_same_place(ops.Linear(seen, channels, bias=False, **factory))
        self.to_v = ops.Linear(seen, channels, bias=False, **factory)
        self.to_scale = ops.Linear(seen, channels, bias=False, **factory)
        self.to_out = zero(ops.Linear(channels, channels, **factory))

    def forward(self, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`x` and the result are `[chunks * frames, channels, height, width]`."""
        inputs.require_positions(self.config.positions)
        tokens = rearrange(self.norm(x), "(chunk frame) c h w -> chunk frame h w c", frame=inputs.frames)
        change = inputs.in_views(tokens, lambda part: self.attend(part, inputs))
        return inputs.add(x, rearrange(change, "chunk frame h w c -> (chunk frame) c h w"))

    def attend(self, tokens: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`[chunks, frames, height, width, channels]` in and out."""
        z = rearrange(torch.cat([tokens, encode_places(tokens)], dim=-1), "chunk frame h w c -> chunk (frame h w) c")
        q, k, v, scale = self.to_q(z), self.to_k(z), self.to_v(z), self.to_scale(z)
        heads = self.config.channels // HEAD_WIDTH
        mixed = temporal_attention(q, k, v, heads, inputs, source=self)
        return self.to_out(mixed * (1 + scale)).view(tokens.shape)


def encode_places(tokens: torch.Tensor) -> torch.Tensor:
    """Return `[chunks, frames, height, width, 3 * OF_AN_AXIS]`: of frame, row and column."""
    chunks, *counts, _ = tokens.shape
    axes = torch.meshgrid(*(torch.arange(count, device=tokens.device) for count in counts), indexing="ij")
    angles = torch.stack(axes, dim=-1)[..., None] * 2.0 ** -torch.arange(FREQUENCIES, device=tokens.device)
    waves = torch.cat((angles.sin(), angles.cos()), dim=-1)
    return repeat(waves, "frame h w direction wave -> chunk frame h w (direction wave)", chunk=chunks).to(tokens)


@torch.no_grad()
def init_at_same_place(layer: nn.Module) -> nn.Module:
    """Initialise W_Q or W_K: Q K^T / sqrt(d) has SHARPNESS times the cosines of the distances in rows and columns."""
    gain = (SHARPNESS * HEAD_WIDTH**0.5) ** 0.5
    for weight in layer.parameters():
        of_frame, of_place = weight[:, -3 * OF_AN_AXIS :].split((OF_AN_AXIS, 2 * OF_AN_AXIS), dim=1)
        nn.init.normal_(of_frame, std=0.5)
        of_place.unflatten(0, (-1, HEAD_WIDTH)).copy_(gain * torch.eye(HEAD_WIDTH, 2 * OF_AN_AXIS))
    return layer
