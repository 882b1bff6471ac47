"""PIA's first convolution: Zhang et al. 2024, "PIA: Your Personalized Image Animator", section 3.2.

The first convolution of its UNet takes nine channels: the noisy latent z (4), the affinity s of the
frame to the reference picture (1), and the latent c of that picture (4). With a base model of any
style, the weights for z and the bias are those of the base. A convolution is linear, so

    conv9([z, s, c]) = conv4(z) + conv5([s, c])

where conv4 is the base model's own layer, which stays as it is, and conv5 has no bias.
"""

from dataclasses import dataclass

import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import nn

from ..contract import Shapes, Tensors
from ..errors import LoomError
from .adapter import AdapterEffects, AdapterInputs
from .conditions import require_picture_size
from .registry import adapter

PIA = "pia"
LATENT_CHANNELS, ADDED_CHANNELS = 4, 5
KERNEL = (3, 3)


@dataclass(frozen=True, eq=False)
class PiaCondition:
    """The reference pictures of a clip.

    `latents` `[pictures, 4, height, width]` are scaled as the UNet receives them. `pictures` has the
    picture that each frame of the clip refers to, and `affinities` how much, 0 to 1.
    """

    latents: torch.Tensor
    pictures: tuple[int, ...]
    affinities: tuple[float, ...]

    def check_clip(self, frames: int, height: int, width: int) -> None:
        if frames != len(self.pictures):
            raise LoomError(
                f"The latent has {frames} frames, but the pictures of PIA are for a clip of {len(self.pictures)}. "
                "Sample the latent of Image To Video, or set its `length` to the number of frames."
            )
        require_picture_size(self.latents, "the pictures of PIA are", height, width)

    def draw(self, frames: list[int]) -> torch.Tensor:
        """Return the added channels `[frames, 5, height, width]`: affinity and latent."""
        latents = self.latents[[self.pictures[frame] for frame in frames]]
        affinities = latents.new_tensor([self.affinities[frame] for frame in frames])
        return torch.cat((affinities.view(-1, 1, 1, 1).expand(-1, 1, *latents.shape[-2:]), latents), dim=1)


@dataclass(frozen=True)
class PiaConfig:
    """Width of the UNet's first convolution."""

    channels: int

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> "PiaConfig":
        return cls(shapes["conv.weight"][0])


def _recognise(shapes: Shapes) -> bool:
    shape = shapes.get("conv_in.weight", ())
    return len(shape) == 4 and shape[1] == LATENT_CHANNELS + ADDED_CHANNELS


def _read(tensors: Tensors) -> Tensors:
    return {"conv.weight": tensors["conv_in.weight"][:, LATENT_CHANNELS:].contiguous()}


def _object(config: PiaConfig, unet: nn.Module) -> str:
    assert isinstance(unet, UNetModel)
    if unet.in_channels != LATENT_CHANNELS:
        return (
            f"a UNet for {unet.in_channels} input channels, such as that of an inpainting checkpoint, and not for "
            f"{LATENT_CHANNELS}"
        )
    if unet.model_channels != config.channels:
        return f"a UNet with {unet.model_channels} channels after its first convolution, not {config.channels}"
    return ""


@adapter(
    PIA,
    name="PIA",
    pattern=r"conv_in\.(?:weight|bias)",
    marks=("conv_in.",),
    recognises=_recognise,
    read=_read,
    config=PiaConfig,
    objection=_object,
    needs="a reference picture",
    node="Image To Video",
    fits_tiles=True,
)
class PiaConvolution(nn.Module):
    def __init__(self, config: PiaConfig, ops=nn, **factory):
        super().__init__()
        self.conv = ops.Conv2d(ADDED_CHANNELS, config.channels, KERNEL, padding=1, bias=False, **factory)

    def forward(self, condition: PiaCondition, inputs: AdapterInputs) -> AdapterEffects:
        """Add the convolution of affinity and picture, computed once for each frame of the batch."""
        frames = sorted(set(inputs.numbers))
        rows = [frames.index(number) for number in inputs.numbers]

        def add_picture(h: torch.Tensor) -> torch.Tensor:
            added = condition.draw(frames)
            return h + self.conv((added if inputs.tile is None else inputs.tile.cut(added)).to(h))[rows]

        return AdapterEffects(after_conv_in=add_picture)
