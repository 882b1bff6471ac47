"""A loaded motion model: its modules in the host's model patcher, and facts about them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import nn

from .adapters.adapter import AdapterCondition, AdapterSpec
from .architectures.architecture import Architecture
from .contract import ClipShape
from .errors import describe_error
from .families import Family
from .unet.low_rank import VaryingLora


class MotionModules(nn.Module):
    """Modules of all sites, named as in the published checkpoints: `<site>.<architecture>`.

    Those of `adapters`, by their keys, are named `adapters.<key>`.
    """

    def __init__(self, modules: Mapping[str, nn.Module], adapters: Mapping[str, nn.Module] | None = None):
        super().__init__()
        self.by_adapter = dict(adapters or {})
        self.by_site: dict[str, nn.Module] = {}
        for path, module in modules.items():
            self._place(path, module)
            self.by_site[path.rpartition(".")[0]] = module
        for key, module in self.by_adapter.items():
            self._place(f"adapters.{key}", module)

    def _place(self, path: str, module: nn.Module) -> None:
        *parents, name = path.split(".")
        parent: nn.Module = self
        for part in parents:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(name, module)


@dataclass(frozen=True)
class ModuleSpec:
    """A motion module of a checkpoint: its architecture and the shape that was read from its tensors."""

    architecture: Architecture
    config: Any

    @property
    def channels(self) -> int:
        return self.config.channels

    @property
    def positions(self) -> int:
        return self.config.positions

    @property
    def time_channels(self) -> int | None:
        """Width of the timestep embedding that the module reads, or None."""
        return getattr(self.config, "time_channels", None)

    def objection(self, clip: ClipShape) -> str:
        """Return why the module cannot process a `clip` of this size at its site, or an empty string."""
        try:
            return self.architecture.objection(self.config, clip)
        except Exception as error:  # code of other packs may raise anything
            return f"its own check of the size fails with {describe_error(error)}"


@dataclass(frozen=True)
class AppliedLora:
    """A motion LoRA on a motion model, of whose `layers` it changes `matched` ones.

    `varies` says that its strength varies over frames, places or sampling.
    """

    name: str
    strength: float
    matched: int
    layers: int
    varies: bool = False

    @property
    def is_partial(self) -> bool:
        return self.matched < self.layers

    def describe(self) -> str:
        strength = f"strength {self.strength:g}{', varying' if self.varies else ''}"
        return f"'{self.name}' ({strength}): {self.matched} of {self.layers} layers"


@dataclass(frozen=True)
class MotionModel:
    """Value of `MOTION_MODEL` sockets; never changed in place.

    `notes` say which parts of its file are not used. `conditions` are inputs of its adapters, by
    their keys. `loras` are all motion LoRAs on it: the weights of `patcher` are patched by those of
    one strength, and `varying_loras` are evaluated beside them.
    """

    name: str
    patcher: ModelPatcher
    family: Family
    reason: str
    file_dtype: torch.dtype
    specs: Mapping[str, ModuleSpec]
    notes: tuple[str, ...] = ()
    loras: tuple[AppliedLora, ...] = ()
    adapters: tuple[AdapterSpec, ...] = ()
    conditions: Mapping[str, AdapterCondition] = field(default_factory=dict)
    varying_loras: tuple[VaryingLora, ...] = ()

    @property
    def positions(self) -> int:
        """Largest number of frames for which every module has positions."""
        return min(spec.positions for spec in self.specs.values())

    @property
    def attends(self) -> bool:
        """Return whether any module attends along frames, so that a factor on its attention means something."""
        return any(spec.architecture.attends for spec in self.specs.values())

    @property
    def moves_positions(self) -> bool:
        """Return whether every module takes positions from a table, so that frames can have others than in training."""
        return all(spec.architecture.moves_positions for spec in self.specs.values())

    @cached_property
    def extended(self) -> dict[Any, "MotionModel"]:
        """Motion models with copies of its weights that nodes made and may need again; they live as long as it does."""
        return {}

    @cached_property
    def broken_weight(self) -> str | None:
        """Name of the first weight with a NaN or Inf, searched once: a file of 2 GB takes about a second."""
        tensors = self.patcher.model.state_dict()
        return next((name for name, tensor in tensors.items() if not tensor.float().sum().isfinite()), None)


def make_custom_family(kinds: Iterable[Architecture], sites: Iterable[str], **training: Any) -> Family:
    """Return a family for a motion model that is unlike any published one; `training` are fields of Family."""
    kinds_by_key = {kind.key: kind for kind in kinds}
    names = tuple(sites)
    levels = {name.split(".")[1] for name in names if name.startswith("down_blocks.")}
    mid = any(name.startswith("mid_block.") for name in names)
    defaults: dict[str, Any] = {
        "name": f"custom {' and '.join(sorted(kinds_by_key))}",
        "base": "",
        "levels": len(levels),
        "mid": mid,
        "joint_unet_norm": any(kind.joint_unet_norm for kind in kinds_by_key.values()),
        "joint_module_norm": any(kind.joint_module_norm for kind in kinds_by_key.values()),
        "own_sites": names,
    }
    return Family(**defaults | training)
