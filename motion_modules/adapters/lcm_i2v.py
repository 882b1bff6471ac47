"""Image encoder of AnimateLCM-I2V: Wang et al. 2024, "AnimateLCM", section 3.3, and the authors' code.

An encoder turns the latent c of the first frame's picture into features of the four levels of the UNet. Frame k gets

    f_0 = conv_in(c) + d PE(k),     f_i = residual blocks of level i (f_(i-1)),

where PE is the sinusoidal encoding over channels, the same at every place, and d is the reference drift. The features
w_i f_i are added to the input of the second motion module of down block i, with the insertion weights w.

The authors' code counts k from 0 in each clip that it evaluates. Here k is the frame of the whole clip, in context
windows too: a frame then has the same features in every window, and only the first one has those of k = 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import nn

from ..architectures.positional_encoding import sinusoidal_positions
from ..contract import Shapes, Tensors
from .adapter import AdapterEffects, AdapterInputs
from .conditions import require_picture_size
from .registry import adapter
from .residual_blocks import ResidualBlock, make_room

LCM_I2V = "lcm_i2v"
LATENT_CHANNELS = 4
LEVELS, BLOCKS = 4, 2  # of the UNet, and residual blocks in each
DEFAULT_DRIFT = 0.8
FRAMES_AT_ONCE = 16
PREFIX = "img_encoder."


@dataclass(frozen=True, eq=False)
class LcmI2vCondition:
    """The picture of the first frame as a latent `[4, height, width]`, scaled as the UNet receives it.

    `insertion_weights` has the weight of the features for each of the four down blocks.
    """

    latent: torch.Tensor
    reference_drift: float = DEFAULT_DRIFT
    insertion_weights: tuple[float, ...] = (1.0,) * LEVELS

    def check_clip(self, frames: int, height: int, width: int) -> None:
        require_picture_size(self.latent, "the picture of AnimateLCM-I2V is", height, width)


@dataclass(frozen=True)
class LcmI2vConfig:
    """Widths of the levels."""

    widths: tuple[int, ...]

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> "LcmI2vConfig":
        return cls(tuple(shapes[f"body.{BLOCKS * level}.block1.weight"][0] for level in range(LEVELS)))


def _read(tensors: Tensors) -> Tensors:
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}


def _object(config: LcmI2vConfig, unet: nn.Module) -> str:
    assert isinstance(unet, UNetModel)
    widths = tuple(unet.model_channels * factor for factor in unet.channel_mult)
    if widths != config.widths:
        return f"a UNet with levels of {_list_widths(widths)} channels, not {_list_widths(config.widths)}"
    return ""


def _list_widths(widths: Sequence[int]) -> str:
    return ", ".join(map(str, widths))


@adapter(
    LCM_I2V,
    name="AnimateLCM-I2V",
    pattern=r"img_encoder\..+",
    marks=(PREFIX,),
    recognises=lambda shapes: True,
    read=_read,
    config=LcmI2vConfig,
    objection=_object,
    needs="a reference picture",
    node="Image To Video",
    fits_tiles=True,
)
class LcmI2vEncoder(nn.Module):
    def __init__(self, config: LcmI2vConfig, ops=nn, **factory):
        super().__init__()
        first = config.widths[0]
        self.conv_in = ops.Conv2d(LATENT_CHANNELS, first, 3, padding=1, **factory)
        self.body = nn.ModuleList()
        for level, (before, width) in enumerate(zip((first, *config.widths), config.widths, strict=False)):
            self.body.append(ResidualBlock(before, width, level > 0, ops, **factory))
            self.body.extend(ResidualBlock(width, width, False, ops, **factory) for _ in range(BLOCKS - 1))

    def forward(self, condition: LcmI2vCondition, inputs: AdapterInputs) -> AdapterEffects:
        """Add the features of the frames of the batch, which are computed once in a run, or each time for a tile."""
        if not any(condition.insertion_weights):
            return AdapterEffects()
        if inputs.tile is None:
            levels = inputs.memory.get("features") or self.encode_clip(condition, inputs.clip_frames, inputs.x)
            inputs.memory["features"] = levels
            rows = list(inputs.numbers)
        else:
            frames = sorted(set(inputs.numbers))
            levels = self.encode(inputs.tile.cut(condition.latent).to(inputs.x), frames, condition.reference_drift)
            rows = [frames.index(number) for number in inputs.numbers]
        return AdapterEffects(
            before_modules={
                f"down_blocks.{level}.motion_modules.1": weight * features[rows].to(inputs.x)
                for level, (features, weight) in enumerate(zip(levels, condition.insertion_weights, strict=True))
                if weight
            }
        )

    def encode_clip(self, condition: LcmI2vCondition, frames: int, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of the whole clip, `[frames, channels, height, width]` for each level.

        `x` is the latent, whose precision and device count.
        """
        latent = condition.latent.to(x)
        levels: list[torch.Tensor] = []
        for start in range(0, frames, FRAMES_AT_ONCE):
            part = range(start, min(start + FRAMES_AT_ONCE, frames))
            encoded = self.encode(latent, part, condition.reference_drift)
            levels = levels or [make_room(features, frames, encoded) for features in encoded]
            for whole, features in zip(levels, encoded, strict=True):
                whole[part.start : part.stop] = features.to(whole.device)
        return levels

    def encode(self, latent: torch.Tensor, frames: Sequence[int], drift: float) -> list[torch.Tensor]:
        """Return the features of these `frames`, one tensor for each level; `latent` is `[4, height, width]`."""
        picture = self.conv_in(latent[None])
        table = sinusoidal_positions(max(frames) + 1, picture.shape[1], dtype=torch.float64)[0]
        x = picture + drift * table[list(frames), :, None, None].to(picture)
        levels: list[torch.Tensor] = []
        for number, block in enumerate(self.body, start=1):
            x = block(x)
            if number % BLOCKS == 0:
                levels.append(x)
        return levels
