"""AnimateDiff's temporal transformer: attention along frames at every position of a feature map.

Guo et al. 2023, "AnimateDiff: Animate Your Personalized Text-to-Image Diffusion Models without
Specific Tuning", section 4.2. With z the tokens of one position, one for each of the f frames:

    z_in = W_in norm(z)
    z   <- z + Attention(Q, K, V) = z + softmax(Q K^T / sqrt(d)) V,  Q, K, V = W_Q z', W_K z', W_V z',  z' = LN(z) + p
    z   <- z + FF(LN(z))
    out  = z_0 + W_out z,  W_out zero at the start of training

Parameter names are those of the published checkpoints.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from ..contract import MotionInputs, Shapes, SiteShape, Tensors, Training, fit_size, zero
from .attention import temporal_attention
from .positional_encoding import PositionalEncoding, choose_positions
from .registry import motion_module

LARGEST_POSITIONS = 4096
LARGEST_COUNT = 16  # of blocks, and of attentions in a block


@dataclass(frozen=True)
class TemporalTransformerConfig:
    """Shape of one temporal transformer; `positions` is the largest number of frames that it has encodings for."""

    channels: int
    positions: int
    blocks: int = 1
    attentions: int = 2
    heads: int = 8
    norm_groups: int = 32
    norm_over_frames: bool = False

    @classmethod
    def for_site(cls, site: SiteShape) -> "TemporalTransformerConfig":
        return cls(site.channels, site.positions)

    @classmethod
    def from_shapes(cls, shapes: Shapes, training: Training) -> "TemporalTransformerConfig":
        """Positions come from the shortest table, and without tables from the training."""
        channels, _ = shapes["proj_in.weight"]
        if channels % 32:
            raise ValueError(f"{channels} channels are not divisible by 32 norm groups")
        blocks, attentions = _count_layers(shapes)
        tables = [shape[1] for key, shape in shapes.items() if key.endswith("pos_encoder.pe")]
        if max(tables, default=0) > LARGEST_POSITIONS:
            raise ValueError(f"{max(tables)} positions are more than {LARGEST_POSITIONS}")
        positions = min(tables, default=training.default_positions)
        return cls(channels, positions, blocks, attentions, norm_over_frames=training.joint_module_norm)


def _count_layers(shapes: Shapes) -> tuple[int, int]:
    """Return the number of blocks, and of attentions in a block."""
    numbers = [key.split(".") for key in shapes if key.startswith("transformer_blocks.")]
    blocks = 1 + max(int(parts[1]) for parts in numbers)
    attentions = 1 + max(int(parts[3]) for parts in numbers if parts[2] == "attention_blocks")
    if blocks > LARGEST_COUNT or attentions > LARGEST_COUNT:
        raise ValueError(f"{blocks} blocks of {attentions} attentions are more than {LARGEST_COUNT}")
    return blocks, attentions


def complete(tensors: Tensors, config: TemporalTransformerConfig) -> Tensors:
    """Return `tensors` with a positional encoding for every attention; some files lack it or hold it rounded."""
    keys = [
        f"transformer_blocks.{block}.attention_blocks.{attention}.pos_encoder.pe"
        for block in range(config.blocks)
        for attention in range(config.attentions)
    ]
    return tensors | {key: choose_positions(tensors.get(key), config.positions, config.channels) for key in keys}


class TemporalAttention(nn.Module):
    def __init__(self, config: TemporalTransformerConfig, ops, **factory):
        super().__init__()
        channels = config.channels
        self.heads = config.heads
        self.to_q = ops.Linear(channels, channels, bias=False, **factory)
        self.to_k = ops.Linear(channels, channels, bias=False, **factory)
        self.to_v = ops.Linear(channels, channels, bias=False, **factory)
        self.to_out = nn.ModuleList([ops.Linear(channels, channels, **factory)])
        self.pos_encoder = PositionalEncoding(config.positions, channels, device=factory.get("device"))

    def forward(self, tokens: torch.Tensor, inputs: MotionInputs, features: torch.Tensor | None = None) -> torch.Tensor:
        h = self.pos_encoder(tokens, inputs.positions)
        if features is not None and inputs.added:
            h = inputs.added.before_attention(h, features)
        q, k, v = self.to_q(h), self.to_k(h), self.to_v(h)
        h = temporal_attention(q, k, v, self.heads, inputs, source=self)
        return self.to_out[0](h)


class GatedLinear(nn.Module):
    def __init__(self, channels: int, inner: int, ops, **factory):
        super().__init__()
        self.proj = ops.Linear(channels, 2 * inner, **factory)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        value, gate = self.proj(tokens).chunk(2, dim=-1)
        return F.gelu(gate).mul_(value)


class FeedForward(nn.Module):
    def __init__(self, channels: int, ops, **factory):
        super().__init__()
        gated, out = GatedLinear(channels, 4 * channels, ops, **factory), ops.Linear(4 * channels, channels, **factory)
        self.net = nn.Sequential(gated, nn.Identity(), out)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.net(tokens)


class TemporalTransformerBlock(nn.Module):
    def __init__(self, config: TemporalTransformerConfig, ops, **factory):
        super().__init__()
        self.attention_blocks = nn.ModuleList(
            TemporalAttention(config, ops, **factory) for _ in range(config.attentions)
        )
        self.norms = nn.ModuleList(ops.LayerNorm(config.channels, **factory) for _ in range(config.attentions))
        self.ff = FeedForward(config.channels, ops, **factory)
        self.ff_norm = ops.LayerNorm(config.channels, **factory)

    def forward(self, tokens: torch.Tensor, inputs: MotionInputs, features: torch.Tensor | None = None) -> torch.Tensor:
        """Return `tokens` `[chunks * positions, frames, channels]` after attention, which `features` take part in."""
        if features is None:
            tokens = inputs.in_views(tokens, lambda part: self._attend(part, inputs))
        else:
            joined = torch.cat((tokens, features), dim=-1)  # so that both are divided into the same views
            joined = inputs.in_views(joined, lambda part: self._attend_with_features(part, inputs))
            tokens = joined[..., : tokens.shape[-1]]
        return tokens + self.ff(self.ff_norm(tokens))

    def _attend(self, tokens: torch.Tensor, inputs: MotionInputs, features: torch.Tensor | None = None) -> torch.Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            tokens = tokens + attention(norm(tokens), inputs, features)
            features = None  # only the first attention has them
        return tokens

    def _attend_with_features(self, joined: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        width = self.ff_norm.normalized_shape[0]
        tokens, features = joined[..., :width], joined[..., width:]
        return torch.cat((self._attend(tokens, inputs, features), features), dim=-1)


@motion_module("temporal_transformer", config=TemporalTransformerConfig, complete=complete, moves_positions=True)
class TemporalTransformer(nn.Module):
    """Norm, projection, attention along frames, feed-forward, projection that is zero at the start of training."""

    def __init__(self, config: TemporalTransformerConfig, ops=nn, **factory):
        super().__init__()
        self.config = config
        channels = config.channels
        self.norm = ops.GroupNorm(config.norm_groups, channels, eps=1e-6, **factory)
        self.proj_in = ops.Linear(channels, channels, **factory)
        self.transformer_blocks = nn.ModuleList(
            TemporalTransformerBlock(config, ops, **factory) for _ in range(config.blocks)
        )
        self.proj_out = zero(ops.Linear(channels, channels, **factory))

    def forward(self, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`x` and the result are `[chunks * frames, channels, height, width]`, the frames of a chunk in a row."""
        inputs.require_positions(self.config.positions)
        hidden = normalise(self.norm, x, inputs.frames if self.config.norm_over_frames else 1)
        if inputs.added:
            hidden = torch.cat((hidden, fit_size(inputs.added.features, hidden).to(hidden)), dim=1)
        return inputs.along_frames(x, hidden, lambda tokens: self.change(tokens, inputs))

    def change(self, tokens: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """Return what is added to the feature map, for tokens `[chunks * positions, frames, channels]`."""
        features = tokens[..., self.config.channels :] if inputs.added else None
        tokens = self.proj_in(tokens[..., : self.config.channels] if inputs.added else tokens)
        for block in self.transformer_blocks:
            tokens = block(tokens, inputs, features)
            features = None  # only the first block has them
        return self.proj_out(tokens)


def normalise(norm: nn.Module, x: torch.Tensor, frames: int = 1) -> torch.Tensor:
    """Return `norm(x)` of `[chunks * frames, channels, h, w]`, a group norm, with statistics over `frames`."""
    if frames == 1:
        return norm(x).contiguous()
    clips = rearrange(x, "(chunk frame) c h w -> chunk c frame (h w)", frame=frames)
    return rearrange(norm(clips), "chunk c frame (h w) -> (chunk frame) c h w", h=x.shape[2])
