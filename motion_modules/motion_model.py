"""A loaded motion model: its modules in the host's model patcher, and what is known about them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import nn

from .architectures.architecture import Architecture
from .contract import ClipShape
from .errors import kind_and_cause_of
from .families import Family


class MotionModules(nn.Module):
    """The modules of all sites, named as in the published checkpoints: `<site>.<architecture>`."""

    def __init__(self, modules: Mapping[str, nn.Module]):
        super().__init__()
        self.by_site: dict[str, nn.Module] = {}
        for path, module in modules.items():
            self._place(path, module)
            self.by_site[path.rpartition(".")[0]] = module

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
        """The width of the timestep embedding that it reads, if it does."""
        return getattr(self.config, "time_channels", None)

    def objection(self, clip: ClipShape) -> str:
        """Why it cannot work on a clip whose feature map has this size here, or nothing."""
        try:
            return self.architecture.objection(self.config, clip)
        except Exception as error:  # it is another's code, and may raise anything
            return f"its own check of the size fails with {kind_and_cause_of(error)}"


@dataclass(frozen=True)
class MotionModel:
    """Value of `MOTION_MODEL` sockets; never changed in place."""

    name: str
    patcher: ModelPatcher
    family: Family
    reason: str
    file_dtype: torch.dtype
    specs: Mapping[str, ModuleSpec]

    @property
    def positions(self) -> int:
        """The largest number of frames that every module has positions for."""
        return min(spec.positions for spec in self.specs.values())

    @property
    def attends(self) -> bool:
        """Return whether any module attends along frames, so that a factor on its attention means something."""
        return any(spec.architecture.attends for spec in self.specs.values())

    @cached_property
    def broken_weight(self) -> str | None:
        """The name of the first weight with a NaN or Inf, read once: a file of 2 GB takes about a second."""
        tensors = self.patcher.model.state_dict()
        return next((name for name, tensor in tensors.items() if not tensor.float().sum().isfinite()), None)


def make_custom_family(kinds: Iterable[Architecture], sites: Iterable[str], **training: Any) -> Family:
    """The family of a motion model that is like no published one; `training` are fields of Family."""
    used = {kind.key: kind for kind in kinds}
    names = tuple(sites)
    levels = {name.split(".")[1] for name in names if name.startswith("down_blocks.")}
    mid = any(name.startswith("mid_block.") for name in names)
    known: dict[str, Any] = {
        "name": f"custom {' and '.join(sorted(used))}",
        "base": "",
        "levels": len(levels),
        "mid": mid,
        "joint_unet_norm": any(kind.joint_unet_norm for kind in used.values()),
        "joint_module_norm": any(kind.joint_module_norm for kind in used.values()),
        "own_sites": names,
    }
    return Family(**known | training)
