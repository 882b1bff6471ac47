"""Several motion modules at one site, one behind the other, as one module whose architecture is put together of theirs.

In a file its tensors are `<site>.<key>+<key>.<number>.<parameter>`, with keys and numbers in the order of running.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from ..contract import ClipShape, MotionInputs, Shapes, SiteShape, Tensors, Training
from .architecture import Architecture
from .registry import Architectures

BEHIND = "+"
Value = TypeVar("Value")


@dataclass(frozen=True)
class StackConfig:
    """The configs of all members, which are of `kinds`, in the order in which they run."""

    kinds: tuple[Architecture, ...]
    configs: tuple[Any, ...]

    @property
    def channels(self) -> int:
        return self.configs[0].channels

    @property
    def positions(self) -> int:
        return min(config.positions for config in self.configs)

    @property
    def time_channels(self) -> int | None:
        widths = (getattr(config, "time_channels", None) for config in self.configs)
        return next((width for width in widths if width is not None), None)

    def members(self) -> Iterator[tuple[Architecture, Any]]:
        return zip(self.kinds, self.configs, strict=True)


@dataclass(frozen=True)
class StackConfigs:
    """Makes configs for a stack of `kinds`, as a config class does for one module."""

    kinds: tuple[Architecture, ...]

    def from_shapes(self, shapes: Shapes, training: Training) -> StackConfig:
        of_members = zip(self.kinds, by_member(shapes, len(self.kinds)), strict=True)
        return StackConfig(self.kinds, tuple(kind.config.from_shapes(own, training) for kind, own in of_members))

    def for_site(self, site: SiteShape) -> StackConfig:
        return StackConfig(self.kinds, tuple(kind.config.for_site(site) for kind in self.kinds))


class Stack(nn.ModuleList):
    def __init__(self, config: StackConfig, ops=nn, **factory):
        super().__init__(kind.module(own, ops=ops, **factory) for kind, own in config.members())
        self.config = config

    def forward(self, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`x` and the result are `[chunks * frames, channels, height, width]`."""
        for member in self:
            x = member(x, inputs)
        return x


def stack_of(kinds: Sequence[Architecture]) -> Architecture:
    """The one of `kinds`, or several as one; of stacks among them, their members."""
    members = tuple(member for kind in kinds for member in members_of(kind))
    if len(members) == 1:
        return members[0]
    return Architecture(
        key=BEHIND.join(member.key for member in members),
        module=Stack,
        config=StackConfigs(members),
        identity_at_start=all(member.identity_at_start for member in members),
        attends=any(member.attends for member in members),
        joint_unet_norm=any(member.joint_unet_norm for member in members),
        joint_module_norm=any(member.joint_module_norm for member in members),
        complete=_complete,
        objection=_objection,
    )


def members_of(kind: Architecture) -> tuple[Architecture, ...]:
    """The architectures of a stack, or of a single module the one that it has."""
    return kind.config.kinds if isinstance(kind.config, StackConfigs) else (kind,)


def keys_in(key: str) -> list[str]:
    """The keys of the members of a stack, or the one key of a single module."""
    return key.split(BEHIND)


def kind_named(key: str, known: Architectures) -> Architecture:
    """The architecture that a file calls `key`; MotionModelError when it, or one of its members, is not known."""
    return stack_of([known[member] for member in keys_in(key)])


def by_member(values: Mapping[str, Value], members: int) -> list[dict[str, Value]]:
    """What stands under `<number>.<parameter>`, apart; ValueError or IndexError where a number is none of a member."""
    apart: list[dict[str, Value]] = [{} for _ in range(members)]
    for name, value in values.items():
        number, _, parameter = name.partition(".")
        apart[int(number)][parameter] = value
    return apart


def together(of_members: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """The inverse of by_member; what a single member has keeps its names."""
    if len(of_members) == 1:
        return dict(of_members[0])
    return {f"{number}.{name}": value for number, own in enumerate(of_members) for name, value in own.items()}


def _complete(tensors: Tensors, config: StackConfig) -> Tensors:
    of_members = zip(config.members(), by_member(tensors, len(config.kinds)), strict=True)
    return together([kind.complete(own, own_config) for (kind, own_config), own in of_members])


def _objection(config: StackConfig, clip: ClipShape) -> str:
    return next(filter(None, (kind.objection(own, clip) for kind, own in config.members())), "")
