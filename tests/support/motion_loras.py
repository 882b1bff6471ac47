"""Motion LoRAs of random weights, in every spelling in which they are published (reference C)."""

import re
from collections.abc import Callable, Iterable, Mapping

import torch

from tests.support.motion_files import Tensors, motion_file

RANK = 3
Factors = Mapping[str, tuple[torch.Tensor, torch.Tensor]]  # [rank, in] and [out, rank] by layer


def linear_layers(tensors: Mapping[str, torch.Tensor], pattern: str = r"\.to_(q|k|v|out)\b") -> dict[str, torch.Size]:
    """The shapes of the weights of linear layers, by layer."""
    return {
        name.removesuffix(".weight"): tensor.shape
        for name, tensor in tensors.items()
        if name.endswith(".weight") and tensor.ndim == 2 and re.search(pattern, name)
    }


def random_factors(layers: Mapping[str, Iterable[int]], rank: int = RANK, seed: int = 0) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: (torch.randn(rank, width, generator=generator), 0.1 * torch.randn(height, rank, generator=generator))
        for layer, (height, width) in layers.items()
    }


def as_original(layer: str) -> tuple[str, str]:
    start, name = re.fullmatch(r"(.+)\.(to_\w+?)(?:\.0)?", layer).groups()
    return tuple(f"{start}.processor.{name}_lora.{part}.weight" for part in ("down", "up"))


def as_motion_director(layer: str) -> tuple[str, str]:
    if layer.endswith((".to_out.0", ".ff.net.2", ".ff.net.0.proj")):
        start, _, name = layer.rpartition(".")
        return tuple(f"{start}.processor.{name}_lora.{part}.weight" for part in ("down", "up"))
    return as_original(layer)


def as_diffusers(layer: str) -> str:
    layer = layer.replace("temporal_transformer.", "").replace("attention_blocks.0", "attn1")
    return f"unet.{layer.replace('attention_blocks.1', 'attn2')}"


def as_peft(layer: str) -> tuple[str, str]:
    return tuple(f"{as_diffusers(layer)}.lora_{part}.weight" for part in "AB")


def as_peft_adapter(layer: str) -> tuple[str, str]:
    return tuple(f"base_model.model.{as_diffusers(layer)[5:]}.lora_{part}.default.weight" for part in "AB")


def as_old_diffusers(layer: str) -> tuple[str, str]:
    return as_original(as_diffusers(layer))


def as_kohya(layer: str) -> tuple[str, str]:
    flat = as_diffusers(layer).replace("unet.", "lora_unet_").replace(".", "_")
    return tuple(f"{flat}.lora_{part}.weight" for part in ("down", "up"))


SPELLINGS: dict[str, Callable[[str], tuple[str, str]]] = {
    "original": as_original,
    "MotionDirector": as_motion_director,
    "PEFT": as_peft,
    "PEFT adapter": as_peft_adapter,
    "old diffusers": as_old_diffusers,
    "kohya": as_kohya,
}


def spell(factors: Factors, spelling: str = "original", alpha: float | None = None) -> Tensors:
    """The tensors of a file; the key of alpha is that of the layer."""
    tensors: Tensors = {}
    for layer, pair in factors.items():
        keys = SPELLINGS[spelling](layer)
        tensors |= dict(zip(keys, pair, strict=True))
        if alpha is not None:
            start = re.sub(r"(_lora|\.lora).*", "", keys[0])
            tensors[f"{start}.alpha"] = torch.tensor(alpha)
    return tensors


def motion_lora_file(spelling: str = "original", rank: int = RANK, seed: int = 0, **kind) -> Tensors:
    """A LoRA for the attention of `motion_file(**kind)`."""
    return spell(random_factors(linear_layers(motion_file(**kind)), rank, seed), spelling)
