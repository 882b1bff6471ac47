"""Motion models of random weights in the original AnimateDiff layout, of any width: plain torch, no host."""

import math
import zlib
from collections.abc import Sequence
from functools import cache

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

    `max_frames` is the length of the positional tables, None leaves them out as AnimateLCM does.
    `output_gain` scales the output projections, which are zero before training: 0 makes every
    module the identity.
    """
    weights: dict[str, torch.Tensor] = {}
    for name, shape in file_shapes(widths, mid, max_frames).items():
        if name.endswith(".pe"):
            weights[name] = positional_table(*shape[1:]).to(dtype, copy=True)
        else:
            weights[name] = random_tensor(name, shape, seed, dtype) * (output_gain if ".proj_out." in name else 1.0)
    return weights


def site_channels(widths: Sequence[int], mid: bool) -> dict[str, int]:
    """Return the channels of every motion module by the name of its site."""
    levels = len(widths)
    channels = {f"down_blocks.{i}.motion_modules.{j}": widths[i] for i in range(levels) for j in range(2)}
    if mid:
        channels["mid_block.motion_modules.0"] = widths[-1]
    return channels | {f"up_blocks.{i}.motion_modules.{j}": widths[-1 - i] for i in range(levels) for j in range(3)}


def module_shapes(channels: int, positions: int | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a published module's tensors by name; `positions` None leaves the tables out."""
    block, square, row = "transformer_blocks.0.", (channels, channels), (channels,)
    shapes: dict[str, tuple[int, ...]]
    shapes = {f"{name}.{kind}": row for name in ("norm", f"{block}ff_norm") for kind in ("weight", "bias")}
    shapes |= {f"{name}.weight": square for name in ("proj_in", "proj_out")}
    shapes |= {f"{name}.bias": row for name in ("proj_in", "proj_out")}
    for index in range(2):
        attention = f"{block}attention_blocks.{index}."
        shapes |= {f"{block}norms.{index}.weight": row, f"{block}norms.{index}.bias": row}
        shapes |= {f"{attention}{name}.weight": square for name in ("to_q", "to_k", "to_v", "to_out.0")}
        shapes[f"{attention}to_out.0.bias"] = row
        if positions is not None:
            shapes[f"{attention}pos_encoder.pe"] = (1, positions, channels)
    shapes |= {f"{block}ff.net.0.proj.weight": (8 * channels, channels), f"{block}ff.net.0.proj.bias": (8 * channels,)}
    return shapes | {f"{block}ff.net.2.weight": (channels, 4 * channels), f"{block}ff.net.2.bias": row}


def file_shapes(widths: Sequence[int], mid: bool, positions: int | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a file's tensors by name, in the original spelling."""
    return {
        f"{site}.temporal_transformer.{name}": shape
        for site, channels in site_channels(widths, mid).items()
        for name, shape in module_shapes(channels, positions).items()
    }


@cache
def positional_table(frames: int, width: int) -> torch.Tensor:
    """Return the sinusoidal table [1, frames, width]: sine in even columns, cosine in odd ones."""
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
