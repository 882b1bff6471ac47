"""How many positions of a feature map a motion module works on at once."""

from collections.abc import Iterator

import torch

CPU_TOKENS = 2048  # 64 positions of 2 x 16 frames: intermediates stay in the second-level cache
CUDA_TOKENS = 65536  # half a 512 px picture of 2 x 16 frames: large kernels, and attention below CUDA's grid limit


def spatial_chunks(positions: int, batch: int, device: torch.device) -> Iterator[slice]:
    """Slices that cover `positions`, each small enough for `batch` frames; attention along frames never mixes them."""
    size = positions if torch.compiler.is_compiling() else _chunk_size(batch, device)
    for start in range(0, positions, size):
        yield slice(start, min(start + size, positions))


def _chunk_size(batch: int, device: torch.device) -> int:
    tokens = CPU_TOKENS if device.type == "cpu" else CUDA_TOKENS
    return max(1, tokens // batch)
