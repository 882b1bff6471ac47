"""Contents of a motion model file, once all keys are parsed."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..architectures.registry import KnownArchitectures
from ..contract import Shapes, Tensors
from ..errors import FileFault
from .adapter_tensors import AdapterTensors, claim_tensors, read_adapters
from .checkpoint_keys import (
    TRANSFORMER,
    ModuleKey,
    find_foreign_architecture,
    parse_keys,
    recognise_spelling,
    respell,
    share_position_tables,
)
from .doubles import choose_keys
from .header import Header
from .unsupported import describe_unused_loras, make_part_fault, refuse_other_files, require_architectures


@dataclass(frozen=True)
class ModuleTensors:
    """Tensors of one motion module by parameter, and the key of its architecture."""

    architecture: str
    tensors: Tensors

    @property
    def shapes(self) -> Shapes:
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}


@dataclass(frozen=True)
class MotionFile:
    """A motion model file: the motion modules in it by site, its adapters, and how its keys are spelled.

    `header` is what this pack wrote into it, if it did. `known` are the architectures at the time
    of loading. `notes` say which parts of the file are not used.
    """

    name: str
    modules: Mapping[str, ModuleTensors]
    adapters: tuple[AdapterTensors, ...]
    spelling: str
    header: Header | None
    known: KnownArchitectures
    notes: tuple[str, ...] = ()

    @property
    def architecture_keys(self) -> set[str]:
        return {module.architecture for module in self.modules.values()}

    @property
    def weights(self) -> dict[str, Tensors]:
        """All tensors by site or place of an adapter, and by parameter."""
        modules = {site: module.tensors for site, module in self.modules.items()}
        return modules | {each.adapter.path: each.tensors for each in self.adapters}


def parse_file(
    name: str, tensors: Mapping[str, torch.Tensor], header: Header | None, known: KnownArchitectures
) -> MotionFile:
    """Return the motion modules among the `tensors` of a file; raise FileFault where it is another kind of file."""
    claims = claim_tensors(tensors)
    free_keys = [key for key in tensors if key not in claims]
    keys = parse_keys(free_keys)
    if header is None:
        refuse_other_files(free_keys, keys)
    foreign = find_foreign_architecture(keys.values(), known.usable)
    packs = header.packs if header else {}
    require_architectures([*packs, *([foreign] if foreign else [])], packs, known)
    if not keys and claims:
        raise make_part_fault(next(iter(claims.values())).adapter)
    if not keys:
        raise FileFault(
            f"holds no motion modules (its first key is '{next(iter(tensors))}'). "
            "Choose an AnimateDiff or Hotshot-XL motion model."
        )
    used, notes = choose_keys({name: (key, respell(key, known.usable)) for name, key in keys.items()}, tensors)
    modules = group_by_site({module_key: tensors[name] for name, module_key in used.items()})
    spelling = recognise_spelling([keys[name] for name in used], known.usable)
    adapters = read_adapters(claims, tensors, {keys[name].prefix for name in used})
    return MotionFile(name, modules, adapters, spelling, header, known, (*notes, *describe_unused_loras(tensors)))


def group_by_site(tensors: Mapping[ModuleKey, torch.Tensor]) -> dict[str, ModuleTensors]:
    """Return the motion modules by site; raise FileFault for two architectures at one site."""
    modules: dict[str, ModuleTensors] = {}
    for key, tensor in tensors.items():
        module = modules.setdefault(key.site, ModuleTensors(key.architecture, {}))
        if module.architecture != key.architecture:
            raise FileFault(
                f"has both a {module.architecture} and a {key.architecture} at '{key.site}'. "
                "Keep one of them in the file."
            )
        module.tensors[key.parameter] = tensor
    return {site: _complete_tables(module) for site, module in modules.items()}


def _complete_tables(module: ModuleTensors) -> ModuleTensors:
    if module.architecture != TRANSFORMER:
        return module
    return ModuleTensors(TRANSFORMER, share_position_tables(module.tensors))
