"""Modules of one motion model in another, at chosen sites."""

from collections.abc import Mapping
from dataclasses import replace

import comfy.utils
import torch

from .assembling import patcher_of
from .contract import Tensors
from .errors import MotionModelError
from .families import Family
from .motion_model import MotionModel, Site
from .site_patterns import ALL, sites_like


@torch.inference_mode(False)
def replace_modules(motion_model: MotionModel, modules: MotionModel, sites: str = ALL) -> MotionModel:
    """A motion model like `motion_model` that has at `sites` what `modules` has there, and copies of all weights.

    `sites` are patterns (site_patterns.py) for those of `modules`; where `motion_model` has none of them, it gains one.
    How it was trained, and the precision in which it is loaded, are those of `motion_model`.
    Raises MotionModelError for patterns that fit nothing, other widths, another base model, norms that cannot be
    mixed, and weights with a LoRA on them.
    """
    chosen = sites_like(sites, modules.sites, f"'{modules.name}'")
    for each in (motion_model, modules):
        _refuse_lora(each)
    _require_same_base(motion_model, modules)
    family = _family(motion_model, chosen)
    new = {name: _fitting(name, motion_model, modules, family) for name in chosen}
    filled = {**motion_model.sites, **new}
    tensors = _copies(motion_model, filled.keys() - new.keys()) | _copies(modules, new.keys())
    patcher = patcher_of(tensors, filled, dtype=_dtype(motion_model))
    keys = " and ".join(sorted({site.architecture.key for site in new.values()}))
    name = f"{motion_model.name} with {keys} of {modules.name}"
    return MotionModel(name, patcher, family, "put together", motion_model.file_dtype, filled)


def _family(motion_model: MotionModel, chosen: list[str]) -> Family:
    """That of `motion_model`, of which a published one has modules nowhere else than where it was published."""
    family, sites = motion_model.family, tuple(dict.fromkeys([*motion_model.sites, *chosen]))
    return family if set(sites) == set(family.site_names) else replace(family, signs=(), own_sites=sites)


def _fitting(name: str, motion_model: MotionModel, modules: MotionModel, family: Family) -> Site:
    """The site of `modules`, as a file with the header of `family` will tell it."""
    site, before = modules.sites[name], motion_model.sites.get(name)
    if before and before.channels != site.channels:
        raise MotionModelError(
            f"The motion module of '{modules.name}' at '{name}' has {site.channels} channels, not the "
            f"{before.channels} of '{motion_model.name}': take modules that were made for the same base model."
        )
    tensors = modules.patcher.model.by_site[name].state_dict()
    config = site.architecture.config.from_shapes({key: tuple(t.shape) for key, t in tensors.items()}, family)
    if replace(config, positions=site.positions) != site.config:
        raise MotionModelError(
            f"The motion module of '{modules.name}' at '{name}' is not normalised as those of '{motion_model.name}' "
            f"({family.name}) are: put one motion model behind the other with two Apply Motion Model nodes."
        )
    return Site(site.architecture, config)


def _copies(motion_model: MotionModel, sites) -> Tensors:
    """Weights that share no memory with the original, which the host may move or patch in place."""
    prefixes = tuple(f"{name}." for name in sites)
    tensors: Mapping[str, torch.Tensor] = motion_model.patcher.model.state_dict()
    return {key: tensor.to("cpu", copy=True) for key, tensor in tensors.items() if key.startswith(prefixes)}


def _dtype(motion_model: MotionModel) -> torch.dtype:
    return comfy.utils.weight_dtype(dict(motion_model.patcher.model.named_parameters())) or torch.float32


def _require_same_base(motion_model: MotionModel, modules: MotionModel) -> None:
    bases = motion_model.family.base, modules.family.base
    if all(bases) and bases[0] != bases[1]:
        raise MotionModelError(
            f"Motion model '{modules.name}' is made for {bases[1]}, but '{motion_model.name}' for {bases[0]}: "
            "take modules that were made for the same base model."
        )


def _refuse_lora(motion_model: MotionModel) -> None:
    if motion_model.patcher.patches:
        raise MotionModelError(
            f"Motion model '{motion_model.name}' has a LoRA on it, which would be lost: "
            "replace modules before the LoRA."
        )
