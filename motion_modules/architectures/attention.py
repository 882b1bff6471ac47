"""The one place that dispatches attention along frames."""

import torch
import torch.nn.functional as F
from comfy.ldm.modules.attention import optimized_attention
from einops import rearrange
from torch import nn

from ..contract import ATTENTION_OVERRIDE, MotionInputs

CUDA_GRID_LIMIT = 65535  # some CUDA kernels put batch x heads on a grid axis of this size


def temporal_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, inputs: MotionInputs, source: nn.Module
) -> torch.Tensor:
    """softmax(s q k^T / sqrt(d)) v along frames, without a mask (AnimateDiff paper, section 4.2).

    `query`, `key`, `value` and the result are `[positions, frames, channels]`, or for attention
    over space as well `[chunks, frames * places, channels]`, the first frame's places first. s is
    `inputs.attention_scale`. Taps in `inputs` may edit all three first, and an
    `optimized_attention_override` that another node put into `transformer_options` replaces the
    kernel. `source` is the layer that calls, by which taps tell attentions apart.
    """
    scale = inputs.attention_scale
    if inputs.taps is not None:
        query, key, value = inputs.taps.edit((query, key, value), heads, scale, inputs.frames, source)
    parts = -(-len(query) * heads // CUDA_GRID_LIMIT) if query.is_cuda else 1
    if parts == 1:
        return _attend(query, key, value, heads, scale, inputs.host_options)
    chunks = zip(query.chunk(parts), key.chunk(parts), value.chunk(parts), strict=True)
    return torch.cat([_attend(q, k, v, heads, scale, inputs.host_options) for q, k, v in chunks])


def _attend(query, key, value, heads: int, scale: float, options: dict) -> torch.Tensor:
    if ATTENTION_OVERRIDE in options:
        return optimized_attention(query * scale, key, value, heads, transformer_options=options)
    q, k, v = (rearrange(part, "n frame (head d) -> n head frame d", head=heads) for part in (query, key, value))
    attended = F.scaled_dot_product_attention(q, k, v, scale=scale * q.shape[-1] ** -0.5)
    return rearrange(attended, "n head frame d -> n frame (head d)")
