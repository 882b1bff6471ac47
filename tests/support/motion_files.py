"""Motion models of random weights, in every spelling in which they are published (reference B.1 to B.3), and what
reference A.3, A.4 and B.5 say of each family.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from synthetic_motion import file_shapes, positional_table

Tensors = dict[str, torch.Tensor]
FULL_WIDTHS = {"SD1.5": (320, 640, 1280, 1280), "SDXL": (320, 640, 1280)}
TINY_WIDTHS = {"SD1.5": (32, 64, 128, 128), "SDXL": (32, 64, 128)}


def motion_file(
    widths: Sequence[int] = TINY_WIDTHS["SD1.5"], mid: bool = False, positions: int | None = 32, seed: int = 0
) -> Tensors:
    """Random weights in the original spelling, output projections included, so that every module acts."""
    generator = torch.Generator().manual_seed(seed)
    shapes = file_shapes(widths, mid, positions)
    return {name: random_weight(name, shape, generator) for name, shape in shapes.items()}


def random_weight(name: str, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Weights that keep signals near unit scale; vectors vary enough to tell one from another."""
    if name.endswith(".pe"):
        return positional_table(*shape[1:]).clone()
    noise = torch.randn(tuple(shape), generator=generator)
    if len(shape) > 1:
        return noise / math.sqrt(math.prod(shape[1:]))
    return 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)


def pia_file(seed: int = 0) -> Tensors:
    """A tiny PIA file: motion modules without a mid block, and the first convolution with nine channels."""
    generator = torch.Generator().manual_seed(seed)
    width = TINY_WIDTHS["SD1.5"][0]
    shapes = {"conv_in.weight": (width, 9, 3, 3), "conv_in.bias": (width,)}
    return motion_file(seed=seed) | {name: random_weight(name, shape, generator) for name, shape in shapes.items()}


def lcm_i2v_file(seed: int = 0) -> Tensors:
    """A tiny AnimateLCM-I2V file: motion modules with a mid block and without positions, and the image encoder."""
    generator = torch.Generator().manual_seed(seed)
    tensors = motion_file(mid=True, positions=None, seed=seed)
    return tensors | {name: random_weight(name, shape, generator) for name, shape in img_encoder_shapes().items()}


def img_encoder_shapes() -> dict[str, tuple[int, ...]]:
    """The names and shapes of reference B.7 and F.4."""
    widths = TINY_WIDTHS["SD1.5"]
    layers = {"conv_in": (widths[0], 4, 3, 3)}
    for number in range(8):
        width, before = widths[number // 2], widths[max(0, number - 1) // 2]
        if width != before:
            layers[f"body.{number}.in_conv"] = (width, before, 1, 1)
        layers |= {f"body.{number}.block1": (width, width, 3, 3), f"body.{number}.block2": (width, width, 1, 1)}
    weights = {f"img_encoder.{layer}.weight": shape for layer, shape in layers.items()}
    return weights | {f"img_encoder.{layer}.bias": shape[:1] for layer, shape in layers.items()}


def weightless(shapes: Mapping[str, Sequence[int]]) -> Tensors:
    """Tensors of these shapes that share one element, so that full-size models take no memory."""
    return {name: torch.zeros(()).expand(tuple(shape)) for name, shape in shapes.items()}


def cast(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def as_diffusers(tensors: Tensors) -> Tensors:
    """The spelling of diffusers' MotionAdapter, with one table of positions per block."""
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        name = name.replace("temporal_transformer.", "")
        name = re.sub(r"attention_blocks\.\d\.pos_encoder\.pe", "pos_embed.pe", name)
        name = name.replace("attention_blocks.0", "attn1").replace("attention_blocks.1", "attn2")
        name = name.replace("norms.0", "norm1").replace("norms.1", "norm2").replace("ff_norm", "norm3")
        renamed[name] = tensor
    return renamed


def from_diffusers(tensors: Tensors) -> Tensors:
    """The original spelling of a MotionAdapter's tensors."""
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        name = re.sub(r"(motion_modules\.\d)\.", r"\1.temporal_transformer.", name)
        name = name.replace("attn1", "attention_blocks.0").replace("attn2", "attention_blocks.1")
        name = name.replace("norm1", "norms.0").replace("norm2", "norms.1").replace("norm3", "ff_norm")
        for index in range(2) if "pos_embed" in name else ():
            renamed[name.replace("pos_embed", f"attention_blocks.{index}.pos_encoder")] = tensor
        if "pos_embed" not in name:
            renamed[name] = tensor
    return renamed


def as_hotshot(tensors: Tensors) -> Tensors:
    pattern = re.compile(r"motion_modules\.(\d)\.temporal_transformer")
    renamed = {pattern.sub(r"temporal_attentions.\1", name): tensor for name, tensor in tensors.items()}
    return {name.replace("pos_encoder.pe", "pos_encoder.positional_encoding"): value for name, value in renamed.items()}


def as_training_checkpoint(tensors: Tensors) -> dict:
    """Return a file as AnimateDiff's training script saves it: counters, and a UNet in DistributedDataParallel."""
    spatial = {
        "conv_in.weight": torch.zeros(32, 4, 3, 3),
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight": torch.zeros(32, 32),
        "down_blocks.0.resnets.0.norm1.weight": torch.ones(32),
        "mid_block.resnets.0.conv1.bias": torch.zeros(32),
        "conv_norm_out.weight": torch.ones(32),
    }
    state_dict = {f"module.{name}": tensor for name, tensor in (spatial | tensors).items()}
    return {"epoch": 3, "global_step": 1234, "state_dict": state_dict}


SPELLINGS = {
    "original": lambda tensors: tensors,
    "diffusers": as_diffusers,
    "Hotshot-XL": as_hotshot,
    "training": as_training_checkpoint,
    "training in diffusers' names": lambda tensors: as_training_checkpoint(as_diffusers(tensors)),
}


@dataclass(frozen=True)
class Expected:
    """A family as its files show it.

    `file_positions` is None where the file has no table. `choice` is what the user has to choose,
    since no key tells it.
    """

    name: str
    base: str
    mid: bool
    positions: int
    betas: str = "linear"
    last_beta: float = 0.012
    joint_unet_norm: bool = False
    joint_module_norm: bool = False
    table_in_file: bool = True
    choice: str = "auto"

    @property
    def widths(self) -> tuple[int, ...]:
        return TINY_WIDTHS[self.base]

    @property
    def file_positions(self) -> int | None:
        return self.positions if self.table_in_file else None

    def file(self, seed: int = 0) -> Tensors:
        return dict(_made_once(self.widths, self.mid, self.file_positions, seed))


@cache
def _made_once(*shape_and_seed) -> Tensors:
    return motion_file(*shape_and_seed)


V1 = Expected("AnimateDiff v1", "SD1.5", mid=False, positions=24, joint_unet_norm=True)
V2 = Expected("AnimateDiff v2", "SD1.5", mid=True, positions=32)
V3 = Expected("AnimateDiff v3", "SD1.5", mid=False, positions=32)
LCM = Expected("AnimateLCM", "SD1.5", mid=True, positions=64, table_in_file=False)
LIGHTNING = Expected("AnimateDiff-Lightning", "SD1.5", mid=True, positions=32, choice="AnimateDiff-Lightning")
LONG = Expected("LongAnimateDiff", "SD1.5", mid=True, positions=64)
SDXL_BETA = Expected(
    "AnimateDiff-SDXL beta",
    "SDXL",
    mid=False,
    positions=32,
    betas="scaled_linear",
    last_beta=0.020,
    joint_module_norm=True,
)
HOTSHOT = Expected("Hotshot-XL", "SDXL", mid=False, positions=24, betas="scaled_linear", joint_unet_norm=True)

PIA = Expected("PIA", "SD1.5", mid=False, positions=32, joint_unet_norm=True)

EXPECTED = (V1, V2, V3, LCM, LIGHTNING, LONG, SDXL_BETA, HOTSHOT)
