"""The one place that dispatches attention along frames."""

import torch
import torch.nn.functional as F
from comfy.ldm.modules.attention import optimized_attention
from torch import nn

WATCHER = "loom_attention_watcher"
CUDA_GRID_LIMIT = 65535  # some CUDA kernels put batch x heads on a grid axis of this size


def temporal_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    heads: int,
    attention_scale: float = 1.0,
    transformer_options: dict | None = None,
    source: nn.Module | None = None,
) -> torch.Tensor:
    """softmax(s q k^T / sqrt(d)) v along frames, without a mask (AnimateDiff paper, section 4.2).

    `query`, `key`, `value` and the result are `[positions, frames, channels]`, or for attention over space as well
    `[chunks, frames * places, channels]`, the first frame's places first; `attention_scale` is s, the factor on the
    logits. An `optimized_attention_override` that another node put into `transformer_options` is obeyed. A
    module with several attentions says which one calls, so that a report can tell their maps apart.
    """
    options = transformer_options or {}
    if WATCHER in options:
        options[WATCHER](query, key, heads, attention_scale, source)
    parts = -(-len(query) * heads // CUDA_GRID_LIMIT) if query.is_cuda else 1
    if parts == 1:
        return _attend(query, key, value, heads, attention_scale, options)
    chunks = zip(query.chunk(parts), key.chunk(parts), value.chunk(parts), strict=True)
    return torch.cat([_attend(q, k, v, heads, attention_scale, options) for q, k, v in chunks])


def _attend(query, key, value, heads: int, attention_scale: float, options: dict) -> torch.Tensor:
    if "optimized_attention_override" in options:
        return optimized_attention(query * attention_scale, key, value, heads, transformer_options=options)
    positions, frames, channels = query.shape
    width = channels // heads
    q, k, v = (t.view(positions, frames, heads, width).transpose(1, 2) for t in (query, key, value))
    attended = F.scaled_dot_product_attention(q, k, v, scale=attention_scale * width**-0.5)
    return attended.transpose(1, 2).reshape(positions, frames, channels)
