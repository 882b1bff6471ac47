"""Motion models that are still to be trained."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_patcher import ModelPatcher

from ..architectures.architecture import Architecture
from ..architectures.registry import architectures
from ..contract import SiteShape
from ..errors import MotionModelError, kind_and_cause_of
from ..families import SDXL, USUAL_BETA_SCHEDULE
from ..motion_model import ModuleSpec, MotionModel, MotionModules, make_custom_family
from ..unet.site_patterns import ALL, sites_like, split_patterns
from ..unet.sites import Site, base_model, unet_sites
from .assembling import build_patcher, main_dtype

LATENT = 8  # pixels of a picture for one of its latent
USUAL_SIZE, SDXL_SIZE = 512, 1024


@dataclass(frozen=True)
class TargetClip:
    """What a new motion model is to move: `frames` of `height` times `width` pixels, at most `positions` at once."""

    frames: int = 16
    height: int = USUAL_SIZE
    width: int = USUAL_SIZE
    positions: int = 32


@torch.inference_mode(False)
def create_motion_model(
    model: ModelPatcher,
    architecture: str,
    clip: TargetClip | None = None,
    *,
    sites: Collection[str] | str | None = None,
    beta_schedule: str = USUAL_BETA_SCHEDULE,
    seed: int = 0,
    name: str = "",
) -> MotionModel:
    """An untrained motion model for `model`, of the registered `architecture`; where that promises it, the identity.

    It has a module at each of `sites`, names or patterns (site_patterns.py), which are all of the UNet's to which the
    architecture has no objection unless given, or given as `*`. `clip` is 16 frames of the base model's usual size
    unless given. `seed` decides its weights.
    Raises MotionModelError for an architecture or sites that are not there, for a model that is no UNet, and where a
    site is too large for the architecture.
    """
    unet = model.get_model_object("diffusion_model")
    if not isinstance(unet, UNetModel):
        raise MotionModelError(
            f"`model` is a {type(unet).__name__}, but motion modules need a UNet: "
            "load a Stable Diffusion 1.5 or SDXL checkpoint."
        )
    base = base_model(model)
    clip = clip or (TargetClip(height=SDXL_SIZE, width=SDXL_SIZE) if base == SDXL else TargetClip())
    kind = architectures()[architecture]
    filled = plan_modules(unet, kind, clip, sites)
    tensors = create_modules(filled, seed).state_dict()
    family = make_custom_family(
        [kind],
        filled,
        base=base or type(model.model.model_config).__name__,
        default_positions=_positions(clip),
        trained_frames=clip.frames,
        beta_schedule=beta_schedule,
    )
    patcher = build_patcher(tensors, filled)
    name, reason = name or f"new {architecture}", "New Motion Model, which made it"
    return MotionModel(name, patcher, family, reason, main_dtype(tensors), filled)


def plan_modules(
    unet: UNetModel, architecture: Architecture, clip: TargetClip, sites: Collection[str] | str | None = None
) -> dict[str, ModuleSpec]:
    """The modules that fresh weights are made for, by the names of their sites; see create_motion_model."""
    found = unet_sites(unet)
    if isinstance(sites, str):
        sites = None if ALL in split_patterns(sites) else sites_like(sites, found, "the UNet")
    missing = [name for name in sites or () if name not in found]
    if missing:
        raise MotionModelError(
            f"The UNet has no place '{missing[0]}' for a motion module: choose from {', '.join(found)}."
        )
    wanted = {name: site for name, site in found.items() if sites is None or name in sites}
    made = {name: _new_site(architecture, name, site, clip) for name, site in wanted.items()}
    objections = {name: made[name].objection(_size(site, clip)) for name, site in wanted.items()}
    _refuse_large(architecture, objections, all_of_them=sites is None)
    return {name: site for name, site in made.items() if not objections[name]}


def create_modules(sites: Mapping[str, ModuleSpec], seed: int = 0) -> MotionModules:
    """Plain modules of torch with fresh weights in float32, decided by `seed`, on torch's default device.

    For training: they need gradients.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        modules = {
            f"{name}.{site.architecture.key}": site.architecture.module(site.config, dtype=torch.float32)
            for name, site in sites.items()
        }
    return MotionModules(modules)


def _new_site(architecture: Architecture, name: str, site: Site, clip: TargetClip) -> ModuleSpec:
    """The site, once the code of the architecture, which may be another's, has built a module of this width."""
    try:
        config = architecture.config.for_site(SiteShape(site.channels, site.time_channels, _positions(clip)))
        architecture.module(config, device="meta")
    except Exception as error:
        raise MotionModelError(
            f"There can be no {architecture.key} at '{name}', since its code fails for {site.channels} channels with "
            f"{kind_and_cause_of(error)}: choose other sites, or correct its code."
        ) from error
    return ModuleSpec(architecture, config)


def _positions(clip: TargetClip) -> int:
    return max(clip.positions, clip.frames)


def _size(site: Site, clip: TargetClip):
    return site.clip(clip.frames, -(-clip.height // LATENT), -(-clip.width // LATENT))


def _refuse_large(architecture: Architecture, objections: Mapping[str, str], all_of_them: bool) -> None:
    """Without a choice of sites, one that is small enough will do; each that was chosen must be."""
    refused = {name: objection for name, objection in objections.items() if objection}
    if refused and (not all_of_them or len(refused) == len(objections)):
        name, objection = next(iter(refused.items()))
        raise MotionModelError(
            f"There can be no {architecture.key} at '{name}', since {objection}: "
            "choose coarser sites, or make the clip smaller."
        )
