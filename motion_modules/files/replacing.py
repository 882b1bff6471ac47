"""Modules of one motion model in another, at chosen sites: in place of its own, or after them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import comfy.utils
import torch

from ..adapters.fitting import describe_misfit
from ..architectures.architecture import Architecture
from ..architectures.stacking import StackConfig, build_stack, join_by_member, split_by_member, split_stack_key
from ..contract import Tensors
from ..errors import MotionModelError
from ..families import Family
from ..motion_model import ModuleSpec, MotionModel
from ..unet.site_patterns import ALL, sites_like
from .assembling import build_patcher, copy_weights

REPLACE, STACK = "replace", "stack"
MODES = (REPLACE, STACK)


@dataclass(frozen=True)
class _Member:
    """A module, alone at its site or in a stack, with a copy of its weights."""

    kind: Architecture
    config: Any
    tensors: Tensors


@torch.inference_mode(False)
def replace_modules(
    motion_model: MotionModel, modules: MotionModel, sites: str = ALL, mode: str = REPLACE
) -> MotionModel:
    """Return a motion model with the modules of `motion_model`, and at `sites` those of `modules`; weights are copied.

    `sites` are patterns (site_patterns.py) for the sites of `modules`, also those where
    `motion_model` has no module. With `mode` "stack" the modules of `motion_model` stay, and those
    of `modules` run after them. Training facts, adapters and the precision of weights are those
    of `motion_model`. Raises MotionModelError for an unknown mode, patterns that match nothing, other
    widths, another base model, norms that cannot be mixed, and a LoRA on either motion model.
    """
    if mode not in MODES:
        raise MotionModelError(f"`mode` is '{mode}', expected one of {', '.join(MODES)}. Choose {REPLACE} or {STACK}.")
    chosen = sites_like(sites, modules.specs, f"'{modules.name}'")
    for each in (motion_model, modules):
        refuse_lora(each, "Replace Motion Modules")
    _require_same_base(motion_model, modules)
    family = _extend_family(motion_model, chosen)
    all_sites = dict.fromkeys([*motion_model.specs, *chosen])
    kept = _list_members(motion_model, [site for site in motion_model.specs if mode == STACK or site not in chosen])
    added = {
        site: [_fit_member(site, member, motion_model, modules, family) for member in members]
        for site, members in _list_members(modules, chosen).items()
    }
    members = {site: [*kept.get(site, []), *added.get(site, [])] for site in all_sites}
    return _join_members(members, motion_model, family, _compose_name(motion_model, modules, chosen, mode))


def _join_members(
    members: Mapping[str, list[_Member]], motion_model: MotionModel, family: Family, name: str
) -> MotionModel:
    specs = {site: _build_stack_spec(stack) for site, stack in members.items()}
    _require_adapters_fit(motion_model, specs, name)
    weights = {site: join_by_member([member.tensors for member in stack]) for site, stack in members.items()}
    weights |= copy_weights(motion_model.patcher.model, motion_model.patcher.backup, {}, motion_model.adapters)
    adapters = motion_model.adapters
    patcher = build_patcher(weights, specs, dtype=read_loaded_dtype(motion_model), adapters=adapters)
    reason = "the Replace Motion Modules node"
    merged = MotionModel(name, patcher, family, reason, motion_model.file_dtype, specs, adapters=adapters)
    return replace(merged, conditions=motion_model.conditions)


def _require_adapters_fit(motion_model: MotionModel, specs: Mapping[str, ModuleSpec], name: str) -> None:
    for each in motion_model.adapters:
        if misfit := describe_misfit(each, specs, name):
            raise MotionModelError(
                f"The {each.adapter.name} of '{motion_model.name}' {misfit}. Choose other `sites`, modules of this "
                "kind, or a motion model without it."
            )


def _build_stack_spec(stack: list[_Member]) -> ModuleSpec:
    kind = build_stack([member.kind for member in stack])
    if len(stack) == 1:
        return ModuleSpec(kind, stack[0].config)
    kinds, configs = zip(*((member.kind, member.config) for member in stack), strict=True)
    return ModuleSpec(kind, StackConfig(kinds, configs))


def _list_members(motion_model: MotionModel, sites: Collection[str]) -> dict[str, list[_Member]]:
    """Return the members of the modules at `sites`: one at each, or those of a stack."""
    specs = {site: motion_model.specs[site] for site in sites}
    weights = copy_weights(motion_model.patcher.model, motion_model.patcher.backup, specs)
    return {site: _split_module(spec, weights[site]) for site, spec in specs.items()}


def _split_module(spec: ModuleSpec, tensors: Tensors) -> list[_Member]:
    if not isinstance(spec.config, StackConfig):
        return [_Member(spec.architecture, spec.config, tensors)]
    member_tensors = split_by_member(tensors, len(spec.config.kinds))
    return [_Member(*member, tensors) for member, tensors in zip(spec.config.members(), member_tensors, strict=True)]


def _fit_member(site: str, member: _Member, motion_model: MotionModel, modules: MotionModel, family: Family) -> _Member:
    """Return `member` with the config that a file with the header of `family` will tell."""
    replaced = motion_model.specs.get(site)
    if replaced and replaced.channels != member.config.channels:
        raise MotionModelError(
            f"The motion module of '{modules.name}' at '{site}' has {member.config.channels} channels, not the "
            f"{replaced.channels} of '{motion_model.name}'. Use modules that were made for the same base model."
        )
    shapes = {key: tuple(tensor.shape) for key, tensor in member.tensors.items()}
    config = member.kind.config.from_shapes(shapes, family)
    trained = replace(modules.family, default_positions=family.default_positions)
    if config != member.kind.config.from_shapes(shapes, trained):
        raise MotionModelError(
            f"The motion module of '{modules.name}' at '{site}' is not normalised as those of '{motion_model.name}' "
            f"({family.name}) are. Apply one motion model after the other, with two Apply Motion Model nodes."
        )
    return replace(member, config=config)


def _extend_family(motion_model: MotionModel, chosen: list[str]) -> Family:
    """Return the family with the `chosen` sites; with other sites than published it is not a published family."""
    family, sites = motion_model.family, tuple(dict.fromkeys([*motion_model.specs, *chosen]))
    return family if set(sites) == set(family.site_names) else replace(family, signs=(), own_sites=sites)


def _compose_name(motion_model: MotionModel, modules: MotionModel, chosen: list[str], mode: str) -> str:
    keys = {key for site in chosen for key in split_stack_key(modules.specs[site].architecture.key)}
    joined = "followed by" if mode == STACK else "with"
    return f"{motion_model.name} {joined} {' and '.join(sorted(keys))} of {modules.name}"


def read_loaded_dtype(motion_model: MotionModel) -> torch.dtype:
    """Return the precision in which most weights are loaded."""
    return comfy.utils.weight_dtype(dict(motion_model.patcher.model.named_parameters())) or torch.float32


def _require_same_base(motion_model: MotionModel, modules: MotionModel) -> None:
    bases = motion_model.family.base, modules.family.base
    if all(bases) and bases[0] != bases[1]:
        raise MotionModelError(
            f"Motion model '{modules.name}' is made for {bases[1]}, but '{motion_model.name}' for {bases[0]}. "
            "Use modules that were made for the same base model."
        )


def refuse_lora(motion_model: MotionModel, node: str) -> None:
    """Raise MotionModelError where `motion_model` has a LoRA, which `node` would lose."""
    if motion_model.loras or motion_model.patcher.patches:
        raise MotionModelError(
            f"Motion model '{motion_model.name}' has a LoRA on it, which would be lost. Apply the LoRA after {node}."
        )
