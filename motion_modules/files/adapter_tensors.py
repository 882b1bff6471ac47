"""The tensors of adapters in a file: in the published names, or in those of this pack, `adapters.<key>.<parameter>`."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..adapters.adapter import Adapter
from ..adapters.registry import ADAPTERS
from ..contract import Shapes, Tensors
from ..errors import FileFault

_saved_key = r"^adapters\.(?P<adapter>[a-z0-9_]+)\.(?P<parameter>.+)$"


class Claim(NamedTuple):
    """A tensor of `adapter`: what a trainer put before its name, its name, and whether this pack wrote it."""

    adapter: Adapter
    prefix: str
    name: str
    is_saved: bool


@dataclass(frozen=True)
class AdapterTensors:
    """Tensors of one adapter by parameter of its module."""

    adapter: Adapter
    tensors: Tensors

    @property
    def shapes(self) -> Shapes:
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}


def claim_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, Claim]:
    """Return the adapter of each tensor that belongs to one, by key in the file.

    Where several adapters know a name, the one that was registered first has it.
    """
    claims = dict(_claim_saved(tensors))
    for adapter in ADAPTERS.values():
        free_shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items() if key not in claims}
        claims |= {key: Claim(adapter, *each, False) for key, each in adapter.find_keys(free_shapes).items()}
    return claims


def read_adapters(
    claims: Mapping[str, Claim], tensors: Mapping[str, torch.Tensor], prefixes: Collection[str]
) -> tuple[AdapterTensors, ...]:
    """Return the adapters of a file, in the order in which they are registered.

    Of two tensors of one name, the one that has a prefix of the motion modules, `prefixes`, counts.
    """
    ordered = sorted(claims, key=lambda key: claims[key].prefix in prefixes)
    return tuple(
        _read_adapter(adapter, {key: claims[key] for key in ordered if claims[key].adapter is adapter}, tensors)
        for adapter in ADAPTERS.values()
        if any(claim.adapter is adapter for claim in claims.values())
    )


def _claim_saved(keys: Collection[str]) -> Iterator[tuple[str, Claim]]:
    for key in keys:
        if key.startswith("adapters.") and (match := re.search(_saved_key, key)):
            if match["adapter"] not in ADAPTERS:
                raise FileFault(
                    f"needs the adapter '{match['adapter']}', which this version does not have. Update this pack, or "
                    "choose another motion model."
                )
            yield key, Claim(ADAPTERS[match["adapter"]], "", match["parameter"], True)


def _read_adapter(adapter: Adapter, claims: Mapping[str, Claim], tensors: Mapping[str, torch.Tensor]) -> AdapterTensors:
    published = {claim.name: tensors[key] for key, claim in claims.items() if not claim.is_saved}
    saved = {claim.name: tensors[key] for key, claim in claims.items() if claim.is_saved}
    return AdapterTensors(adapter, saved or adapter.read(published))
