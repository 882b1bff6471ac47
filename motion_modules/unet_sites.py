"""Where the host's UNet has room for motion modules, and whether a motion model belongs there."""

from collections.abc import Mapping
from dataclasses import dataclass

import comfy.supported_models
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, ResBlock, UNetModel, Upsample
from comfy.model_patcher import ModelPatcher

from .errors import MotionModelError
from .families import SD15, SDXL
from .motion_model import MotionModel

Block = tuple[str, int]  # as in the host's transformer_options["block"]


@dataclass(frozen=True)
class UNetSite:
    """A place for a motion module: in `block`, after the spatial transformer, or after the residual block."""

    block: Block
    channels: int
    after_transformer: bool


def unet_sites(unet: UNetModel) -> dict[str, UNetSite]:
    """The sites of `unet` by their names in motion model files (reference layout: down, mid, up)."""
    sites = _sites_of("down_blocks", "input", unet.input_blocks, Downsample)
    sites |= _sites_of("up_blocks", "output", unet.output_blocks, Upsample)
    if unet.middle_block is not None and any(isinstance(layer, SpatialTransformer) for layer in unet.middle_block):
        sites["mid_block.motion_modules.0"] = UNetSite(("middle", 0), _channels(unet.middle_block), True)
    return sites


def _sites_of(prefix: str, kind: str, blocks, resampler: type) -> dict[str, UNetSite]:
    sites: dict[str, UNetSite] = {}
    level = index = 0
    for number, layers in enumerate(blocks):
        if any(isinstance(layer, ResBlock) and not layer.updown for layer in layers):
            attends = any(isinstance(layer, SpatialTransformer) for layer in layers)
            sites[f"{prefix}.{level}.motion_modules.{index}"] = UNetSite((kind, number), _channels(layers), attends)
            index += 1
        if any(isinstance(layer, resampler) or getattr(layer, "updown", False) for layer in layers):
            level, index = level + 1, 0
    return sites


def _channels(layers) -> int:
    return [layer.out_channels for layer in layers if isinstance(layer, ResBlock)][-1]


def require_fit(model: ModelPatcher, motion_model: MotionModel) -> Mapping[str, UNetSite]:
    """The sites of `model` that `motion_model` fills, or an error that says why it was made for another model."""
    unet = model.get_model_object("diffusion_model")
    base = base_model(model)
    if base not in (None, motion_model.family.base):
        raise _misfit(motion_model, base)
    if not isinstance(unet, UNetModel):
        raise _misfit(motion_model, f"another kind of model ({type(unet).__name__})")
    sites = unet_sites(unet)
    for name, site in motion_model.sites.items():
        if name not in sites:
            raise _misfit(motion_model, f"a UNet without a place for '{name}'")
        if site.channels != sites[name].channels:
            raise _misfit(motion_model, f"a UNet with {sites[name].channels} channels at '{name}', not {site.channels}")
    return {name: sites[name] for name in motion_model.sites}


def base_model(model: ModelPatcher) -> str | None:
    """The name of a base model that the host knows and AnimateDiff users meet, else None."""
    known = comfy.supported_models
    config = model.model.model_config
    if isinstance(config, known.SD20):
        return "SD2"
    if isinstance(config, known.SDXLRefiner):
        return "the SDXL refiner"
    if isinstance(config, known.SDXL):
        return SDXL
    if isinstance(config, known.SVD_img2vid):
        return "Stable Video Diffusion"
    return SD15 if isinstance(config, known.SD15) else None


def _misfit(motion_model: MotionModel, found: str) -> MotionModelError:
    base = motion_model.family.base
    return MotionModelError(
        f"Motion model '{motion_model.name}' ({motion_model.family.name}) is made for {base}, but `model` is {found}: "
        f"load an {base} checkpoint, or a motion model that was made for this one."
    )
