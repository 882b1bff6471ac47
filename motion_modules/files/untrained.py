"""New motion models, with untrained weights."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_patcher import ModelPatcher

from ..architectures.architecture import Architecture
from ..architectures.registry import architectures
from ..contract import ClipShape, SiteShape
from ..errors import MotionModelError, describe_error
from ..families import SDXL, USUAL_BETA_SCHEDULE
from ..motion_model import ModuleSpec, MotionModel, MotionModules, make_custom_family
from ..unet.site_patterns import ALL, sites_like, split_patterns
from ..unet.sites import Site, base_model, unet_sites
from .assembling import build_patcher, find_main_dtype

LATENT = 8  # pixels of the picture to one of the latent
USUAL_SIZE, SDXL_SIZE = 512, 1024


@dataclass(frozen=True)
class TargetClip:
    """Clip that a new motion model is made for: `frames` of `height` x `width` pixels, up to `positions` at once."""

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
    """Create an untrained motion model for `model`: modules of the registered `architecture`, with weights by `seed`.

    `sites` are names or patterns (site_patterns.py). By default, and for `*`, they are all sites of
    the UNet to which the architecture has no objection. `clip` is by default 16 frames of the base
    model's usual size. Raises MotionModelError for an unknown architecture, unknown sites, a model
    without a UNet, and a site that is too large for the architecture.
    """
    unet = model.get_model_object("diffusion_model")
    if not isinstance(unet, UNetModel):
        raise MotionModelError(
            f"`model` is a {type(unet).__name__}, but motion modules need a UNet. "
            "Load a Stable Diffusion 1.5 or SDXL checkpoint."
        )
    base = base_model(model)
    clip = clip or (TargetClip(height=SDXL_SIZE, width=SDXL_SIZE) if base == SDXL else TargetClip())
    kind = architectures()[architecture]
    specs = plan_modules(unet, kind, clip, sites)
    weights = {site: module.state_dict() for site, module in create_modules(specs, seed).by_site.items()}
    family = make_custom_family(
        [kind],
        specs,
        base=base or type(model.model.model_config).__name__,
        default_positions=_count_positions(clip),
        trained_frames=clip.frames,
        beta_schedule=beta_schedule,
    )
    patcher, dtype = build_patcher(weights, specs), find_main_dtype(weights)
    return MotionModel(name or f"new {architecture}", patcher, family, "the New Motion Model node", dtype, specs)


def plan_modules(
    unet: UNetModel, architecture: Architecture, clip: TargetClip, sites: Collection[str] | str | None = None
) -> dict[str, ModuleSpec]:
    """Return the specs of new modules by site; see create_motion_model."""
    all_sites = unet_sites(unet)
    patterns = ",".join(sites) if sites is not None and not isinstance(sites, str) else sites
    if patterns is not None:
        sites = None if ALL in split_patterns(patterns) else sites_like(patterns, all_sites, "the UNet")
    chosen = {name: site for name, site in all_sites.items() if sites is None or name in sites}
    specs = {name: _plan_site_module(architecture, name, site, clip) for name, site in chosen.items()}
    objections = {name: specs[name].objection(_compute_clip(site, clip)) for name, site in chosen.items()}
    _refuse_large(architecture, objections, all_required=sites is not None)
    return {name: spec for name, spec in specs.items() if not objections[name]}


def create_modules(specs: Mapping[str, ModuleSpec], seed: int = 0) -> MotionModules:
    """Create plain PyTorch modules with fresh float32 weights, decided by `seed`, on torch's default device.

    For training: unlike the host's, these have gradients.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        modules = {
            f"{site}.{spec.architecture.key}": spec.architecture.module(spec.config, dtype=torch.float32)
            for site, spec in specs.items()
        }
    return MotionModules(modules)


def _plan_site_module(architecture: Architecture, name: str, site: Site, clip: TargetClip) -> ModuleSpec:
    """Return the spec of a module at `site`, once the architecture's code, maybe of another pack, has built one."""
    try:
        config = architecture.config.for_site(SiteShape(site.channels, site.time_channels, _count_positions(clip)))
        architecture.module(config, device="meta")
    except Exception as error:
        raise MotionModelError(
            f"A {architecture.key} cannot be created at '{name}': its code fails for {site.channels} channels with "
            f"{describe_error(error)}. Choose other sites, or correct the code."
        ) from error
    return ModuleSpec(architecture, config)


def _count_positions(clip: TargetClip) -> int:
    return max(clip.positions, clip.frames)


def _compute_clip(site: Site, clip: TargetClip) -> ClipShape:
    return site.clip(clip.frames, -(-clip.height // LATENT), -(-clip.width // LATENT))


def _refuse_large(architecture: Architecture, objections: Mapping[str, str], all_required: bool) -> None:
    """Raise when no site is small enough, or with `all_required` when one is too large."""
    refused = {name: objection for name, objection in objections.items() if objection}
    if refused and (all_required or len(refused) == len(objections)):
        name, objection = next(iter(refused.items()))
        raise MotionModelError(
            f"A {architecture.key} cannot be created at '{name}', since {objection}. "
            "Choose `sites` of lower resolution, or lower `frames`, `width` or `height`."
        )
