"""Tiny SparseCtrl networks of random weights, in diffusers' own class and in the spellings of files."""

from functools import cache
from pathlib import Path

import torch
from animatediff_loom.motion_modules.sparse_control.loading import build_sparse_network, parse_sparse_file
from animatediff_loom.sampling.sparse_control.control import SparseControl
from diffusers.models.controlnets.controlnet_sparsectrl import SparseControlNetModel
from safetensors.torch import save_file
from synthetic_motion import random_tensor
from torch import nn

from tests.support.host import CONTEXT_WIDTH
from tests.support.motion_files import TINY_WIDTHS, Tensors, from_diffusers, random_weight
from tests.support.reference_unet import PerFrameNorm

RGB, SCRIBBLE = "rgb", "scribble"
KINDS = (RGB, SCRIBBLE)
NARROW_WIDTH = 320


def reference_network(kind: str, dtype: torch.dtype = torch.float32) -> SparseControlNetModel:
    """diffusers' network with random weights, zero convolutions included; its motion norms see each frame alone."""
    network = SparseControlNetModel(
        block_out_channels=TINY_WIDTHS["SD1.5"],
        cross_attention_dim=CONTEXT_WIDTH,
        conditioning_channels=4 if kind == RGB else 3,
        use_simplified_condition_embedding=kind == RGB,
    )
    generator = torch.Generator().manual_seed(5)
    for name, weight in network.named_parameters():
        weight.data = random_weight(name, weight.shape, generator)
    for name, norm in network.named_modules():
        if isinstance(norm, nn.GroupNorm) and "motion_modules" in name:
            norm.__class__ = PerFrameNorm
    return network.to(dtype).requires_grad_(False).eval()


def diffusers_file(kind: str) -> Tensors:
    return dict(_read_once(kind))


@cache
def _read_once(kind: str) -> Tensors:
    return reference_network(kind).state_dict()


def original_file(kind: str) -> dict[str, Tensors]:
    """Return a file as the authors' training script saves it."""
    tensors = diffusers_file(kind)
    motion = {name: tensor for name, tensor in tensors.items() if "motion_modules" in name}
    spatial = {name: tensor for name, tensor in tensors.items() if name not in motion}
    renamed = {name: tensor for name, tensor in from_diffusers(motion).items() if "attention_blocks.1" not in name}
    # A module has one attention, after which diffusers still calls the feed-forward norm norm3.
    return {"controlnet": {f"module.{name}": tensor for name, tensor in (spatial | renamed).items()}}


def sparse_network(kind: str = RGB, dtype: torch.dtype = torch.float32):
    return build_sparse_network(parse_sparse_file(diffusers_file(kind)), dtype)


def sparse_control(kind: str = SCRIBBLE) -> SparseControl:
    return SparseControl(f"{kind}.safetensors", sparse_network(kind))


def save_narrow_control(file: Path) -> None:
    """Save a SparseCtrl for sketches of random weights, for SD1.5 with 320 channels at every level."""
    with torch.device("meta"):
        network = SparseControlNetModel(
            block_out_channels=(NARROW_WIDTH,) * 4, conditioning_channels=3, use_simplified_condition_embedding=False
        )
    shapes = {name: weight.shape for name, weight in network.named_parameters()}
    save_file({name: random_tensor(name, shape, 0, torch.float16) for name, shape in shapes.items()}, file)


def save_sparse_control(file: Path, kind: str = SCRIBBLE) -> Path:
    save_file(diffusers_file(kind), file)
    return file
