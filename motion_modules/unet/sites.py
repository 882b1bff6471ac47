"""Where the host's UNet has room for motion modules, and whether a motion model belongs there."""

from collections.abc import Mapping
from dataclasses import dataclass

import comfy.supported_models
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, ResBlock, UNetModel, Upsample
from comfy.model_patcher import ModelPatcher

from ..adapters.fitting import describe_misfit
from ..contract import ClipShape
from ..errors import MotionModelError
from ..families import SD15, SDXL
from ..motion_model import MotionModel

Block = tuple[str, int]  # as in the host's transformer_options["block"]


@dataclass(frozen=True)
class Site:
    """A place for a motion module: in `block`, after the spatial transformer, or after the residual block.

    `time_channels`: width of the timestep embedding there. `shrinking`: the picture's latent is
    larger by this factor.
    """

    block: Block
    channels: int
    after_transformer: bool
    time_channels: int
    shrinking: int

    def clip(self, frames: int, height: int, width: int) -> ClipShape:
        """Return the size of the feature map here, for a latent of `height` and `width`."""
        return ClipShape(frames, -(-height // self.shrinking), -(-width // self.shrinking))


def unet_sites(unet: UNetModel) -> dict[str, Site]:
    """Return the sites of `unet` by their names in motion model files (reference layout: down, mid, up)."""
    time = 4 * unet.model_channels
    down, smallest = _list_half("down_blocks", "input", unet.input_blocks, Downsample, time)
    up, _ = _list_half("up_blocks", "output", unet.output_blocks, Upsample, time, smallest)
    sites = down | up
    if unet.middle_block is not None and any(isinstance(layer, SpatialTransformer) for layer in unet.middle_block):
        middle = Site(("middle", 0), _count_channels(unet.middle_block), True, time, 2**smallest)
        sites["mid_block.motion_modules.0"] = middle
    return sites


def encoder_sites(network) -> dict[str, Site]:
    """Return the sites of a network that is the encoder half of a UNet, as a ControlNet is, without its middle."""
    return _list_half("down_blocks", "input", network.input_blocks, Downsample, 4 * network.model_channels)[0]


def _list_half(
    prefix: str, kind: str, blocks, resampler: type, time: int, smallest: int = 0
) -> tuple[dict[str, Site], int]:
    """Return the sites of one half of the UNet, and its number of resamplings; `smallest` is that of the other half."""
    sites: dict[str, Site] = {}
    level = index = 0
    for number, layers in enumerate(blocks):
        if any(isinstance(layer, ResBlock) and not layer.updown for layer in layers):
            attends = any(isinstance(layer, SpatialTransformer) for layer in layers)
            shrinking = 2 ** abs(smallest - level)
            site = Site((kind, number), _count_channels(layers), attends, time, shrinking)
            sites[f"{prefix}.{level}.motion_modules.{index}"] = site
            index += 1
        if any(isinstance(layer, resampler) or getattr(layer, "updown", False) for layer in layers):
            level, index = level + 1, 0
    return sites, level


def _count_channels(layers) -> int:
    return [layer.out_channels for layer in layers if isinstance(layer, ResBlock)][-1]


def require_fit(model: ModelPatcher, motion_model: MotionModel) -> Mapping[str, Site]:
    """Return the sites of `model` that `motion_model` fills, or raise MotionModelError."""
    unet = model.get_model_object("diffusion_model")
    base = base_model(model)
    if base and motion_model.family.base not in ("", base):
        raise _make_misfit_error(motion_model, base)
    if not isinstance(unet, UNetModel):
        raise _make_misfit_error(motion_model, f"another kind of model ({type(unet).__name__})")
    sites = unet_sites(unet)
    for name, spec in motion_model.specs.items():
        if name not in sites:
            raise _make_misfit_error(motion_model, f"a UNet without the site '{name}'")
        if spec.channels != sites[name].channels:
            raise _make_misfit_error(
                motion_model, f"a UNet with {sites[name].channels} channels at '{name}', not {spec.channels}"
            )
        time = sites[name].time_channels
        if spec.time_channels not in (None, time):
            raise _make_misfit_error(
                motion_model,
                f"a UNet with {time} timestep channels at '{name}', not {spec.time_channels}",
            )
    for each in motion_model.adapters:
        if objection := each.adapter.objection(each.config, unet):
            raise _make_misfit_error(motion_model, objection)
        if misfit := describe_misfit(each, motion_model.specs, motion_model.name):
            raise MotionModelError(f"The {each.adapter.name} in the file {misfit}. Get an unmodified copy of it.")
    return {name: sites[name] for name in motion_model.specs}


def base_model(model: ModelPatcher) -> str | None:
    """Return the name of a base model that the host knows and AnimateDiff users meet, else None."""
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


def _make_misfit_error(motion_model: MotionModel, description: str) -> MotionModelError:
    base = motion_model.family.base or "another model"
    checkpoint = f"a checkpoint for {base}" if motion_model.family.base else "the checkpoint that it was made for"
    return MotionModelError(
        f"Motion model '{motion_model.name}' ({motion_model.family.name}) is made for {base}, but `model` is "
        f"{description}. Load {checkpoint}, or choose a motion model for this one."
    )
