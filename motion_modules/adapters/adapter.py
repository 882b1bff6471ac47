"""A kind of adapter: which tensors of a file belong to it, its module, and what it needs from users."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from ..contract import AddedFeatures, Shapes, Tensors
from ..tile import Tile


class AdapterCondition(Protocol):
    """Input of an adapter for a whole clip: a frozen dataclass."""

    def check_clip(self, frames: int, height: int, width: int) -> None:
        """Raise LoomError where the condition is not for a clip of `frames` latents of this size."""
        ...


class AdapterConfig(Protocol):
    """Builder of the shape of an adapter: usually a frozen dataclass with this class method."""

    def from_shapes(self, shapes: Shapes) -> Any: ...


@dataclass(frozen=True)
class AdapterInputs:
    """Inputs of an adapter in an evaluation of the UNet.

    `x` `[batch, channels, height, width]` is what the UNet receives. `numbers` are the frames of the
    whole clip, which has `clip_frames`, at the places of the batch. With a `tile`, `x` is that part of
    the latent. `memory` lasts for the run, for what an adapter computes once.
    """

    x: torch.Tensor
    numbers: Sequence[int]
    clip_frames: int
    tile: Tile | None = None
    memory: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AdapterEffects:
    """Changes that an adapter makes in one evaluation of the UNet, by place; None where it makes none.

    `after_conv_in` takes the output of the UNet's first convolution and returns what to go on with.
    `before_modules` has features `[batch, channels, height, width]` that are added to the input of motion modules of
    the adapter's own motion model, by site. `in_modules` has features that these modules mix in, by site. Modules
    of strength 0 get neither.
    """

    after_conv_in: Callable[[torch.Tensor], torch.Tensor] | None = None
    before_modules: Mapping[str, torch.Tensor] = field(default_factory=dict)
    in_modules: Mapping[str, AddedFeatures] = field(default_factory=dict)


class AdapterKey(NamedTuple):
    """Key of an adapter's tensor: what a trainer put before it, and its name in the published files."""

    prefix: str
    name: str


def keep_tensors(tensors: Tensors, config: Any = None) -> Tensors:
    return tensors


@dataclass(frozen=True)
class Adapter:
    """A kind of adapter.

    `key`: its name in the files of this pack, `adapters.<key>.<parameter>`, and in families. `name`:
    the word for users. `pattern`: a regular expression for names of its tensors in published files,
    after any prefix that ends with a full stop. `marks`: parts of keys, one of which each of its keys
    has, so that most keys are never searched. `recognises(shapes)`: whether tensors of these names
    and shapes, all of one prefix, are its own. `read(tensors)` returns the tensors of `module` from
    those of a published file, before any of them is checked. `complete(tensors, config)` adds tables that files may
    leave out to tensors that were checked. `objection(config, unet)` returns the property of a UNet with which
    the adapter cannot work, to follow "`model` is ", or "". `needs`: its input in words. `node`: the
    name of the node that gives it. `has_own_files`: whether files hold it without motion modules, which that
    node adds to a motion model. `fits_tiles`: whether its module cuts the condition to a tile; otherwise
    tiles are refused.
    """

    key: str
    name: str
    pattern: str
    recognises: Callable[[Shapes], bool]
    config: AdapterConfig
    module: type[nn.Module]
    objection: Callable[[Any, nn.Module], str]
    needs: str
    node: str
    has_own_files: bool = False
    marks: tuple[str, ...] = ("",)
    read: Callable[[Tensors], Tensors] = keep_tensors
    complete: Callable[[Tensors, Any], Tensors] = keep_tensors
    fits_tiles: bool = False

    @property
    def path(self) -> str:
        """Place of its module beside those of the sites."""
        return f"adapters.{self.key}"

    def find_keys(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, AdapterKey]:
        """Return the keys of its tensors among those of a published file."""
        groups: dict[str, dict[str, AdapterKey]] = {}
        for key in (key for key in shapes if any(mark in key for mark in self.marks)):
            if match := re.search(rf"(?:^|\.)(?P<name>{self.pattern})$", key):
                prefix = key[: match.start("name")]
                groups.setdefault(prefix, {})[key] = AdapterKey(prefix, match["name"])
        return {
            key: each
            for group in groups.values()
            if self.recognises({each.name: shapes[key] for key, each in group.items()})
            for key, each in group.items()
        }


@dataclass(frozen=True)
class AdapterSpec:
    """An adapter of a checkpoint, and the shape that was read from its tensors."""

    adapter: Adapter
    config: Any
