"""AnimateDiff's temporal transformer: attention along frames at every position of a feature map.

Guo et al. 2023, "AnimateDiff: Animate Your Personalized Text-to-Image Diffusion Models without Specific Tuning",
section 4.2. With z the tokens of one position, one for each of the f frames:

    z_in = W_in norm(z)
    z   <- z + Attention(Q, K, V) = z + softmax(Q K^T / sqrt(d)) V,  Q, K, V = W_Q z', W_K z', W_V z',  z' = LN(z) + p
    z   <- z + FF(LN(z))
    out  = z_0 + W_out z,  W_out zero at the start of training

Parameter names are those of the published checkpoints.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .attention import temporal_attention
from .contract import MotionInputs, zero
from .frame_norm import normalised
from .positional_encoding import PositionalEncoding
from .registry import motion_module
from .temporal_transformer_file import TemporalTransformerConfig, complete


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
        h = temporal_attention(q, k, v, self.heads, inputs.attention_scale, inputs.host_options, source=self)
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
        tokens = inputs.in_views(tokens, lambda part: self._attend(part, inputs))
        return tokens + self.ff(self.ff_norm(tokens))

    def _attend(self, tokens: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            tokens = tokens + attention(norm(tokens), inputs)
        return tokens


@motion_module("temporal_transformer", config=TemporalTransformerConfig, complete=complete)
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
        hidden = normalised(self.norm, x, inputs.frames if self.config.norm_over_frames else 1)
        return inputs.along_frames(x, hidden, lambda tokens: self.change(tokens, inputs))

    def change(self, tokens: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """What is added to the feature map, for tokens `[chunks * positions, frames, channels]`."""
        tokens = self.proj_in(tokens)
        for block in self.transformer_blocks:
            tokens = block(tokens, inputs)
        return self.proj_out(tokens)
