"""AnimateDiff's temporal transformer: attention along frames at every position of a feature map.

Guo et al., "AnimateDiff: Animate Your Personalized Text-to-Image Diffusion Models without Specific
Tuning", section 4.2.
Parameter names are those of the published checkpoints.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .attention import temporal_attention
from .contract import MotionInputs, Views
from .errors import MotionModelError
from .families import Family
from .positional_encoding import PositionalEncoding, trusted_positions
from .registry import Architecture, Shapes, register
from .spatial_chunks import spatial_chunks

LARGEST_POSITIONS = 4096


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

    def forward(self, tokens: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        h = self.pos_encoder(tokens)
        q, k, v = self.to_q(h), self.to_k(h), self.to_v(h)
        h = temporal_attention(q, k, v, self.heads, inputs.attention_scale, inputs.host_options)
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

    def forward(self, tokens: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        tokens = self._attend_in_views(tokens, inputs, inputs.views) if inputs.views else self._attend(tokens, inputs)
        return tokens + self.ff(self.ff_norm(tokens))

    def _attend(self, tokens: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            tokens = tokens + attention(norm(tokens), inputs)
        return tokens

    def _attend_in_views(self, tokens: torch.Tensor, inputs: MotionInputs, views: Views) -> torch.Tensor:
        """Window-based attention fusion: Qiu et al. 2024, "FreeNoise", section 3.3."""
        fused = torch.zeros_like(tokens)
        on_device = views.on(tokens)
        for window, weights in zip(on_device.windows, on_device.weights, strict=True):
            fused.index_add_(1, window, self._attend(tokens[:, window], inputs) * weights)
        return fused


class TemporalTransformer(nn.Module):
    """Norm, projection, attention along frames, feed-forward, projection; the identity when `proj_out` is zero."""

    def __init__(self, config: TemporalTransformerConfig, ops=nn, **factory):
        super().__init__()
        self.config = config
        channels = config.channels
        self.norm = ops.GroupNorm(config.norm_groups, channels, eps=1e-6, **factory)
        self.proj_in = ops.Linear(channels, channels, **factory)
        self.transformer_blocks = nn.ModuleList(
            TemporalTransformerBlock(config, ops, **factory) for _ in range(config.blocks)
        )
        self.proj_out = ops.Linear(channels, channels, **factory)

    def forward(self, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`x` and the result are `[chunks * frames, channels, height, width]`, the frames of a chunk in a row."""
        if inputs.frames_together > self.config.positions:
            raise MotionModelError(
                f"The motion model received {inputs.frames_together} frames at once, but has positions for "
                f"{self.config.positions}: lower the latent's batch_size, or sample in context windows."
            )
        batch, channels, height, width = x.shape
        clips = (batch // inputs.frames, inputs.frames, channels, height * width)
        hidden = self._normalise(x, inputs.frames).view(clips)
        source = x.reshape(clips)
        result = torch.empty_like(source)
        for positions in spatial_chunks(height * width, batch, x.device):
            change = self._change(hidden[..., positions], inputs)
            result[..., positions] = torch.add(source[..., positions], change, alpha=inputs.strength)
        return result.view_as(x)

    def _normalise(self, x: torch.Tensor, frames: int) -> torch.Tensor:
        if not self.config.norm_over_frames:
            return self.norm(x).contiguous()
        _, channels, height, width = x.shape
        clips = x.reshape(-1, frames, channels, height * width).transpose(1, 2)
        return self.norm(clips).transpose(1, 2).contiguous()

    def _change(self, hidden: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`[clips, frames, channels, positions]` in and out, `[clips * positions, frames, channels]` between."""
        clips, frames, channels, positions = hidden.shape
        tokens = hidden.transpose(2, 3).contiguous().transpose(1, 2).reshape(-1, frames, channels)
        tokens = self.proj_in(tokens)
        for block in self.transformer_blocks:
            tokens = block(tokens, inputs)
        return self.proj_out(tokens).view(clips, positions, frames, channels).permute(0, 2, 3, 1)


def configure(shapes: Shapes, family: Family) -> TemporalTransformerConfig:
    """The shape of one temporal transformer, from the shapes of its tensors."""
    channels, _ = shapes["proj_in.weight"]
    if channels % 32:
        raise ValueError(f"{channels} channels are not divisible by 32 norm groups")
    numbers = [key.split(".") for key in shapes if key.startswith("transformer_blocks.")]
    blocks = 1 + max(int(parts[1]) for parts in numbers)
    attentions = 1 + max(int(parts[3]) for parts in numbers if parts[2] == "attention_blocks")
    if blocks > 16 or attentions > 16:
        raise ValueError(f"{blocks} blocks of {attentions} attentions are more than 16")
    tables = [shape[1] for key, shape in shapes.items() if key.endswith("pos_encoder.pe")]
    if max(tables, default=0) > LARGEST_POSITIONS:
        raise ValueError(f"{max(tables)} positions are more than {LARGEST_POSITIONS}")
    positions = min(tables, default=family.default_positions)
    return TemporalTransformerConfig(channels, positions, blocks, attentions, norm_over_frames=family.joint_module_norm)


def complete(tensors: dict[str, torch.Tensor], config: TemporalTransformerConfig) -> dict[str, torch.Tensor]:
    """`tensors` with a positional encoding for every attention, which some files lack or hold in low precision."""
    keys = [
        f"transformer_blocks.{block}.attention_blocks.{attention}.pos_encoder.pe"
        for block in range(config.blocks)
        for attention in range(config.attentions)
    ]
    return tensors | {key: trusted_positions(tensors.get(key), config.positions, config.channels) for key in keys}


register(Architecture("temporal_transformer", configure, complete, TemporalTransformer))
