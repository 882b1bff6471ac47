"""Modules of one motion model in another, at chosen sites: in place of its own, or behind them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import comfy.utils
import torch

from ..architectures.architecture import Architecture
from ..architectures.stacking import StackConfig, by_member, keys_in, stack_of, together
from ..contract import Tensors
from ..errors import MotionModelError
from ..families import Family
from ..motion_model import ModuleSpec, MotionModel
from ..unet.site_patterns import ALL, sites_like
from .assembling import build_patcher, by_path, read_unpatched_weights

REPLACE, STACK = "replace", "stack"
MODES = (REPLACE, STACK)


@dataclass(frozen=True)
class _Member:
    """One module with a copy of its weights, which the host may move or patch in place where they came from."""

    kind: Architecture
    config: Any
    tensors: Tensors


@torch.inference_mode(False)
def replace_modules(
    motion_model: MotionModel, modules: MotionModel, sites: str = ALL, mode: str = REPLACE
) -> MotionModel:
    """A motion model like `motion_model` that has at `sites` what `modules` has there, and copies of all weights.

    `sites` are patterns (site_patterns.py) for those of `modules`; where `motion_model` has none of them, it gains one.
    With `mode` "stack" its own modules stay, and those of `modules` run behind them. How it was trained, and the
    precision in which it is loaded, are those of `motion_model`.
    Raises MotionModelError for another mode, patterns that fit nothing, other widths, another base model, norms that
    cannot be mixed, and weights with a LoRA on them.
    """
    if mode not in MODES:
        raise MotionModelError(f"`mode` is '{mode}', expected one of {', '.join(MODES)}: choose {REPLACE} or {STACK}.")
    chosen = sites_like(sites, modules.specs, f"'{modules.name}'")
    for each in (motion_model, modules):
        _refuse_lora(each)
    _require_same_base(motion_model, modules)
    family = _family(motion_model, chosen)
    given_up = set(chosen) if mode == REPLACE else set()
    own, new = (
        by_path(read_unpatched_weights(each.patcher.model, each.patcher.backup)) for each in (motion_model, modules)
    )
    filled = {
        name: [] if name in given_up else list(_members(name, spec, own)) for name, spec in motion_model.specs.items()
    }
    for name in chosen:
        members = _members(name, modules.specs[name], new)
        filled.setdefault(name, []).extend(_fitting(name, member, motion_model, modules, family) for member in members)
    return _put_together(filled, motion_model, family, _name(motion_model, modules, chosen, mode))


def _put_together(
    filled: dict[str, list[_Member]], motion_model: MotionModel, family: Family, name: str
) -> MotionModel:
    sites = {place: _site(members) for place, members in filled.items()}
    tensors = {
        f"{place}.{sites[place].architecture.key}.{parameter}": tensor
        for place, members in filled.items()
        for parameter, tensor in together([member.tensors for member in members]).items()
    }
    patcher = build_patcher(tensors, sites, dtype=_dtype(motion_model))
    reason = "Replace Motion Modules, which made it"
    return MotionModel(name, patcher, family, reason, motion_model.file_dtype, sites)


def _site(members: list[_Member]) -> ModuleSpec:
    kind = stack_of([member.kind for member in members])
    if len(members) == 1:
        return ModuleSpec(kind, members[0].config)
    kinds, configs = zip(*((member.kind, member.config) for member in members), strict=True)
    return ModuleSpec(kind, StackConfig(kinds, configs))


def _members(name: str, site: ModuleSpec, weights: Mapping[str, Tensors]) -> Iterator[_Member]:
    own = weights.get(f"{name}.{site.architecture.key}", {})
    tensors = {key: tensor.to("cpu", copy=True) for key, tensor in own.items()}
    if not isinstance(site.config, StackConfig):
        yield _Member(site.architecture, site.config, tensors)
        return
    of_members = by_member(tensors, len(site.config.kinds))
    for (kind, config), own in zip(site.config.members(), of_members, strict=True):
        yield _Member(kind, config, own)


def _fitting(name: str, member: _Member, motion_model: MotionModel, modules: MotionModel, family: Family) -> _Member:
    """The same, with its config as a file with the header of `family` will tell it."""
    before = motion_model.specs.get(name)
    if before and before.channels != member.config.channels:
        raise MotionModelError(
            f"The motion module of '{modules.name}' at '{name}' has {member.config.channels} channels, not the "
            f"{before.channels} of '{motion_model.name}': take modules that were made for the same base model."
        )
    shapes = {key: tuple(tensor.shape) for key, tensor in member.tensors.items()}
    config = member.kind.config.from_shapes(shapes, family)
    trained = replace(modules.family, default_positions=family.default_positions)
    if config != member.kind.config.from_shapes(shapes, trained):
        raise MotionModelError(
            f"The motion module of '{modules.name}' at '{name}' is not normalised as those of '{motion_model.name}' "
            f"({family.name}) are: put one motion model behind the other with two Apply Motion Model nodes."
        )
    return replace(member, config=config)


def _family(motion_model: MotionModel, chosen: list[str]) -> Family:
    """That of `motion_model`, of which a published one has modules nowhere else than where it was published."""
    family, sites = motion_model.family, tuple(dict.fromkeys([*motion_model.specs, *chosen]))
    return family if set(sites) == set(family.site_names) else replace(family, signs=(), own_sites=sites)


def _name(motion_model: MotionModel, modules: MotionModel, chosen: list[str], mode: str) -> str:
    kinds = {key for name in chosen for key in keys_in(modules.specs[name].architecture.key)}
    how = "and behind it" if mode == STACK else "with"
    return f"{motion_model.name} {how} {' and '.join(sorted(kinds))} of {modules.name}"


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
