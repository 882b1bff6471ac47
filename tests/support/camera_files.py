"""Files of CameraCtrl with random weights, and its formulas written out (reference B.7 and F.2)."""

import re

import torch
import torch.nn.functional as F

from tests.support.motion_files import TINY_WIDTHS, V3, Tensors, random_weight

WIDTHS = TINY_WIDTHS["SD1.5"]
POSITIONS = 16
MERGE = "temporal_transformer.transformer_blocks.0.attention_blocks.0.processor.qkv_merge"


def camera_file(widths: tuple[int, ...] = WIDTHS, seed: int = 0) -> Tensors:
    """The pruned form, with small weights in the layers of the motion modules."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: random_weight(name, shape, generator) for name, shape in encoder_shapes(widths).items()}
    for site, width in sites(widths).items():
        tensors[f"{site}.{MERGE}.weight"] = 0.5 * random_weight("weight", (width, width), generator)
        tensors[f"{site}.{MERGE}.bias"] = 0.1 * torch.randn(width, generator=generator)
    return tensors


def as_trained(tensors: Tensors) -> dict[str, Tensors]:
    """The published form of a training run: two dictionaries."""
    encoder = {name: tensor for name, tensor in tensors.items() if name.startswith("encoder_")}
    layers = {name: tensor for name, tensor in tensors.items() if name not in encoder}
    return {"epoch": 1, "pose_encoder_state_dict": encoder, "attention_processor_state_dict": layers}


def sites(widths: tuple[int, ...]) -> dict[str, int]:
    names = [name.partition(".temporal_transformer")[0] for name in V3.file() if name.endswith("proj_in.weight")]
    scales = {name: scale_of(name, len(widths)) for name in names}
    return {name: widths[scale] for name, scale in scales.items()}


def scale_of(site: str, scales: int) -> int:
    number = int(re.findall(r"\d+", site)[0])
    return number if site.startswith("down") else scales - 1 - number


def encoder_shapes(widths: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "encoder_conv_in.weight": (widths[0], 384, 3, 3),
        "encoder_conv_in.bias": (widths[0],),
    }
    for scale, width in enumerate(widths):
        for number in range(2):
            block = f"encoder_down_conv_blocks.{scale}.{number}"
            before = widths[max(0, scale - 1)] if number == 0 else width
            layers = {"block1": (width, width, 3, 3), "block2": (width, width, 1, 1)}
            if before != width:
                layers["in_conv"] = (width, before, 1, 1)
            for layer, shape in layers.items():
                shapes |= {f"{block}.{layer}.weight": shape, f"{block}.{layer}.bias": (width,)}
            attention = f"encoder_down_attention_blocks.{scale}.{number}"
            for layer in ("to_q", "to_k", "to_v", "to_out.0"):
                shapes[f"{attention}.attention_blocks.0.{layer}.weight"] = (width, width)
            shapes[f"{attention}.attention_blocks.0.to_out.0.bias"] = (width,)
            shapes[f"{attention}.attention_blocks.0.pos_encoder.pe"] = (1, POSITIONS, width)
            for norm in ("norms.0", "ff_norm"):
                shapes |= {f"{attention}.{norm}.weight": (width,), f"{attention}.{norm}.bias": (width,)}
            shapes |= {f"{attention}.ff.net.0.proj.weight": (8 * width, width)}
            shapes |= {f"{attention}.ff.net.0.proj.bias": (8 * width,), f"{attention}.ff.net.2.bias": (width,)}
            shapes |= {f"{attention}.ff.net.2.weight": (width, 4 * width)}
    return shapes


def encode(tensors: Tensors, rays: torch.Tensor) -> list[torch.Tensor]:
    """The features of rays `[frames, 6, height, width]`, `[frames, channels, h, w]` for each scale."""
    weights = {name: tensor.to(rays.dtype) for name, tensor in tensors.items()}
    x = F.pixel_unshuffle(rays, 8)
    x = F.conv2d(x, weights["encoder_conv_in.weight"], weights["encoder_conv_in.bias"], padding=1)
    features = []
    for scale in range(4):
        for number in range(2):
            x = F.avg_pool2d(x, 2) if scale and not number else x
            x = _residual(weights, f"encoder_down_conv_blocks.{scale}.{number}.", x)
            x = _mix(weights, f"encoder_down_attention_blocks.{scale}.{number}.", x)
        features.append(x)
    return features


def _residual(weights: Tensors, block: str, x: torch.Tensor) -> torch.Tensor:
    if f"{block}in_conv.weight" in weights:
        x = F.conv2d(x, weights[f"{block}in_conv.weight"], weights[f"{block}in_conv.bias"])
    h = F.relu(F.conv2d(x, weights[f"{block}block1.weight"], weights[f"{block}block1.bias"], padding=1))
    return x + F.conv2d(h, weights[f"{block}block2.weight"], weights[f"{block}block2.bias"])


def _mix(weights: Tensors, block: str, x: torch.Tensor, heads: int = 8) -> torch.Tensor:
    frames, channels, height, width = x.shape
    z = x.permute(2, 3, 0, 1).reshape(-1, frames, channels)
    attention = f"{block}attention_blocks.0."
    h = _norm(weights, f"{block}norms.0", z) + weights[f"{attention}pos_encoder.pe"][:, :frames]
    q, k, v = (
        (h @ weights[f"{attention}to_{name}.weight"].T).unflatten(2, (heads, -1)).transpose(1, 2) for name in "qkv"
    )
    scores = (q @ k.mT) / (channels // heads) ** 0.5
    mixed = (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
    z = z + mixed @ weights[f"{attention}to_out.0.weight"].T + weights[f"{attention}to_out.0.bias"]
    inner = _norm(weights, f"{block}ff_norm", z) @ weights[f"{block}ff.net.0.proj.weight"].T
    value, gate = (inner + weights[f"{block}ff.net.0.proj.bias"]).chunk(2, dim=-1)
    z = z + (value * F.gelu(gate)) @ weights[f"{block}ff.net.2.weight"].T + weights[f"{block}ff.net.2.bias"]
    return z.reshape(height, width, frames, channels).permute(2, 3, 0, 1)


def _norm(weights: Tensors, name: str, z: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(z, z.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)
