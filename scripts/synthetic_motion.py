"""Motion models of random weights in the original AnimateDiff layout, of any width: plain torch, no host."""

import math
import zlib
from collections.abc import Iterator, Sequence

import torch

SD15_WIDTHS = (320, 640, 1280, 1280)
SDXL_WIDTHS = (320, 640, 1280)
LAYOUTS = {
    "v1": {"mid": False, "max_frames": 24},
    "v2": {"mid": True, "max_frames": 32},
    "v3": {"mid": False, "max_frames": 32},
    "sdxl": {"mid": False, "max_frames": 32},
    "lcm": {"mid": True, "max_frames": None},
}


def motion_model_state_dict(
    widths: Sequence[int] = SD15_WIDTHS,
    *,
    mid: bool = False,
    max_frames: int | None = 32,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    output_gain: float = 0.1,
) -> dict[str, torch.Tensor]:
    """Random weights for a UNet with these widths per level; four levels are SD1.5's layout, three SDXL's.

    `max_frames` is the length of the positional tables, None leaves them out as AnimateLCM does. `output_gain` scales
    the output projections, which are zero before training: 0 makes every module the identity.
    """
    weights: dict[str, torch.Tensor] = {}
    for site, width in motion_sites(widths, mid):
        for name, shape in _module_shapes(width):
            weights[f"{site}.{name}"] = random_tensor(f"{site}.{name}", shape, seed, dtype)
        for name in ("proj_out.weight", "proj_out.bias"):
            weights[f"{site}.{name}"] *= output_gain
        if max_frames is not None:
            weights |= {f"{site}.{name}": positional_table(max_frames, width).to(dtype) for name in _TABLES}
    return weights


def motion_sites(widths: Sequence[int], mid: bool = False) -> Iterator[tuple[str, int]]:
    """Every module's key prefix and width, in the order of the UNet."""
    for level, width in enumerate(widths):
        for layer in range(2):
            yield f"down_blocks.{level}.motion_modules.{layer}.temporal_transformer", width
    if mid:
        yield "mid_block.motion_modules.0.temporal_transformer", widths[-1]
    for level, width in enumerate(reversed(widths)):
        for layer in range(3):
            yield f"up_blocks.{level}.motion_modules.{layer}.temporal_transformer", width


def positional_table(frames: int, width: int) -> torch.Tensor:
    """The sinusoidal table [1, frames, width]: sine in even columns, cosine in odd ones."""
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
    angle = torch.arange(frames, dtype=torch.float64)[:, None] * frequency
    return torch.stack((angle.sin(), angle.cos()), dim=-1).reshape(1, frames, width).float()


def random_tensor(name: str, shape: Sequence[int], seed: int, dtype: torch.dtype) -> torch.Tensor:
    """Random weights that keep activations near unit scale; the same for a name and seed wherever it is made."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
    noise = torch.randn(tuple(shape), generator=generator)
    if name.endswith("bias") or "embedding" in name:
        return (0.02 * noise).to(dtype)
    if len(shape) == 1:
        return (1.0 + 0.05 * noise).to(dtype)
    return (noise / math.sqrt(max(1, math.prod(shape[1:])))).to(dtype)


_BLOCK = "transformer_blocks.0."
_TABLES = [f"{_BLOCK}attention_blocks.{index}.pos_encoder.pe" for index in range(2)]


def _module_shapes(width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name in ("norm", f"{_BLOCK}norms.0", f"{_BLOCK}norms.1", f"{_BLOCK}ff_norm"):
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)
    for index in range(2):
        for name in ("to_q", "to_k", "to_v"):
            yield f"{_BLOCK}attention_blocks.{index}.{name}.weight", (width, width)
        yield from _linear(f"{_BLOCK}attention_blocks.{index}.to_out.0", width, width)
    yield from _linear(f"{_BLOCK}ff.net.0.proj", width, 8 * width)
    yield from _linear(f"{_BLOCK}ff.net.2", 4 * width, width)
    yield from _linear("proj_in", width, width)
    yield from _linear("proj_out", width, width)


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)
