"""Methods that make a clip from pictures, by what the motion models on a MODEL can do with them."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher

from ...motion_modules.adapters.conditions import put_condition
from ...motion_modules.adapters.lcm_i2v import LCM_I2V as LCM_I2V_ADAPTER
from ...motion_modules.adapters.lcm_i2v import LcmI2vCondition
from ...motion_modules.adapters.pia import PIA as PIA_ADAPTER
from ...motion_modules.adapters.pia import PiaCondition
from ...motion_modules.errors import LoomError
from ...motion_modules.unet.applied import AppliedMotion, applied_motion
from ..steering.curves import read_frame_curve
from .affinity import CURVE, CURVE_INPUT, list_affinities
from .insertion import read_insertion
from .pictures import ClipPictures
from .release import hold_frames, release_frames

AUTO, PIA, LCM_I2V, NOISED = "auto", "PIA", "AnimateLCM-I2V", "noised latents"
MOTION, START, REACH = "motion", "start_from_pictures", "reach"
DEFAULT_MOTION, DEFAULT_REACH = "moderate", 6

Latent = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Animation:
    """A MODEL that knows the pictures, the LATENT to sample, and a sentence about the method."""

    model: ModelPatcher
    latent: Latent
    summary: str


def animate_pictures(model: ModelPatcher, pictures: ClipPictures, choice: Mapping[str, Any]) -> Animation:
    """Return `model` prepared for a clip from `pictures`, by the method in `choice["method"]` or the one that fits.

    `choice` has the inputs of the method too. Raise LoomError for a method that no motion model on
    `model` has.
    """
    method = choice["method"]
    fitting = _find_method(applied_motion(model.model_options))
    if method == AUTO:
        method = fitting
    elif method == NOISED and fitting != NOISED:
        raise LoomError(
            f"`method` is '{NOISED}', but the motion model on the model is of the kind {fitting} and needs the "
            f"pictures. Set `method` to '{AUTO}'."
        )
    elif method not in (NOISED, fitting):
        raise LoomError(
            f"`method` is '{method}', but no {method} motion model acts on the model. Set `method` to '{AUTO}', or "
            f"apply a {method} motion model before this node."
        )
    animation = METHODS[method](model, pictures, choice)
    logging.info(f"Image To Video: {animation.summary}")
    return animation


def _find_method(motions: tuple[AppliedMotion, ...]) -> str:
    keys = {spec.adapter.key for motion in motions for spec in motion.adapters}
    return next((method for key, method in METHODS_BY_ADAPTER.items() if key in keys), NOISED)


def animate_by_pia(model: ModelPatcher, pictures: ClipPictures, choice: Mapping[str, Any]) -> Animation:
    """Give the pictures to PIA's first convolution; the clip starts from noise alone, as in its reference."""
    motion = choice.get(MOTION, DEFAULT_MOTION)
    curve = read_frame_curve(choice.get(CURVE_INPUT, ""), CURVE_INPUT) if motion == CURVE else ()
    affinities = list_affinities(pictures, motion, curve)
    nearest = [pictures.find_nearest(frame) for frame in range(pictures.length)]
    clone = model.clone()
    put_condition(clone, PIA_ADAPTER, PiaCondition(_scale_latents(model, pictures), tuple(nearest), affinities))
    samples = pictures.latents[nearest]
    samples = samples if choice.get(START) else torch.zeros_like(samples)
    named_motion = "a curve" if motion == CURVE else f"'{motion}' motion"
    summary = f"PIA, {_count(pictures)}, {named_motion}. Affinity {min(affinities):g} to {max(affinities):g}."
    return Animation(clone, {"samples": samples}, summary)


def animate_by_lcm_i2v(model: ModelPatcher, pictures: ClipPictures, choice: Mapping[str, Any]) -> Animation:
    """Give the picture of the first frame to the encoder of AnimateLCM-I2V; the clip starts from noise alone.

    The strength of the picture is a factor on the insertion weights. Raise LoomError for other pictures than one at
    frame 0.
    """
    settings = read_insertion(choice)
    if pictures.frames != (0,):
        raise LoomError(
            f"{LCM_I2V} takes one picture, for frame 0, but the node has {_count(pictures)}. Connect `start_image` "
            "alone."
        )
    (strength,) = pictures.strengths
    weights = tuple(strength * weight for weight in settings.insertion_weights)
    clone = model.clone()
    latents = _scale_latents(model, pictures)
    put_condition(clone, LCM_I2V_ADAPTER, LcmI2vCondition(latents[0], settings.reference_drift, weights))
    samples = torch.zeros_like(pictures.latents).expand(pictures.length, -1, -1, -1).contiguous()
    written = ", ".join(f"{weight:g}" for weight in weights)
    drift = f"Reference drift {settings.reference_drift:g}"
    summary = f"{LCM_I2V}, {_count(pictures)}. {drift}, insertion weights {written}."
    return Animation(clone, {"samples": samples}, summary)


def animate_from_noised_latents(model: ModelPatcher, pictures: ClipPictures, choice: Mapping[str, Any]) -> Animation:
    """Hold frames near a picture at its noised latent for a part of the steps."""
    reach = choice.get(REACH, DEFAULT_REACH)
    holds, holders = hold_frames(pictures, reach)
    samples = pictures.latents[holders]
    mask = samples.new_tensor([1 - hold for hold in holds]).view(-1, 1, 1, 1)
    clone = model.clone()
    clone.set_model_denoise_mask_function(release_frames)
    latent = {"samples": samples, "noise_mask": mask.expand(-1, 1, *samples.shape[-2:]).contiguous()}
    kept = sum(hold == 1 for hold in holds)
    summary = (
        f"noised latents, {_count(pictures)}: {kept} of {pictures.length} frames stay as their picture, and frames "
        f"up to {reach - 1} away follow it for a part of the steps. No motion model on the model takes pictures."
    )
    return Animation(clone, latent, summary)


def _scale_latents(model: ModelPatcher, pictures: ClipPictures) -> torch.Tensor:
    """Return the latents of the pictures as the UNet receives them."""
    latent_format: Any = model.get_model_object("latent_format")
    return latent_format.process_in(pictures.latents)


def _count(pictures: ClipPictures) -> str:
    frames = ", ".join(str(frame) for frame in pictures.frames)
    return f"1 picture at frame {frames}" if len(pictures.frames) == 1 else f"pictures at frames {frames}"


METHODS: dict[str, Callable[[ModelPatcher, ClipPictures, Mapping[str, Any]], Animation]] = {
    PIA: animate_by_pia,
    LCM_I2V: animate_by_lcm_i2v,
    NOISED: animate_from_noised_latents,
}
METHODS_BY_ADAPTER = {PIA_ADAPTER: PIA, LCM_I2V_ADAPTER: LCM_I2V}
