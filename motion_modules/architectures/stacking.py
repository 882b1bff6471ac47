"""Several motion modules at one site, which run one after another as a single module.

In a file its tensors are `<site>.<key>+<key>.<number>.<parameter>`, with keys and numbers in the
order of running.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import nn

from ..contract import ClipShape, MotionInputs, Shapes, SiteShape, Tensors, Training
from .architecture import Architecture
from .registry import KnownArchitectures

SEPARATOR = "+"
Value = TypeVar("Value")


@dataclass(frozen=True)
class StackConfig:
    """The configs of all members, whose architectures are `kinds`, in the order in which they run."""

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
class StackConfigBuilder:
    """Builder of the configs of a stack of `kinds`, as a config class is for one module."""

    kinds: tuple[Architecture, ...]

    def from_shapes(self, shapes: Shapes, training: Training) -> StackConfig:
        members = zip(self.kinds, split_by_member(shapes, len(self.kinds)), strict=True)
        configs = tuple(kind.config.from_shapes(member_shapes, training) for kind, member_shapes in members)
        return StackConfig(self.kinds, configs)

    def for_site(self, site: SiteShape) -> StackConfig:
        return StackConfig(self.kinds, tuple(kind.config.for_site(site) for kind in self.kinds))


class Stack(nn.ModuleList):
    def __init__(self, config: StackConfig, ops=nn, **factory):
        super().__init__(kind.module(member, ops=ops, **factory) for kind, member in config.members())
        self.config = config

    def forward(self, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """`x` and the result are `[chunks * frames, channels, height, width]`; the first member gets added features."""
        for member in self:
            x = member(x, inputs)
            inputs = replace(inputs, added=None) if inputs.added else inputs
        return x


def build_stack(kinds: Sequence[Architecture]) -> Architecture:
    """Return the only architecture in `kinds`, or one for all of them; stacks among them are flattened."""
    members = tuple(member for kind in kinds for member in list_members(kind))
    if len(members) == 1:
        return members[0]
    return Architecture(
        key=SEPARATOR.join(member.key for member in members),
        module=Stack,
        config=StackConfigBuilder(members),
        identity_at_start=all(member.identity_at_start for member in members),
        attends=any(member.attends for member in members),
        moves_positions=all(member.moves_positions for member in members),
        joint_unet_norm=any(member.joint_unet_norm for member in members),
        joint_module_norm=any(member.joint_module_norm for member in members),
        complete=_complete,
        objection=_find_objection,
    )


def list_members(kind: Architecture) -> tuple[Architecture, ...]:
    """Return the architectures of the members of a stack, or `kind` alone when it is not a stack."""
    return kind.config.kinds if isinstance(kind.config, StackConfigBuilder) else (kind,)


def split_stack_key(key: str) -> list[str]:
    """Return the keys of the members of a stack, or the only key of a single module."""
    return key.split(SEPARATOR)


def find_architecture(key: str, known: KnownArchitectures) -> Architecture:
    """Return the architecture that a file calls `key`; raise MotionModelError when a member is unknown."""
    return build_stack([known[member] for member in split_stack_key(key)])


def split_by_member(values: Mapping[str, Value], members: int) -> list[dict[str, Value]]:
    """Split `values`, named `<number>.<parameter>`, by member.

    Raises ValueError or IndexError for a number that no member has.
    """
    member_values: list[dict[str, Value]] = [{} for _ in range(members)]
    for name, value in values.items():
        number, _, parameter = name.partition(".")
        member_values[int(number)][parameter] = value
    return member_values


def join_by_member(member_values: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """Invert split_by_member; the names of a single member stay as they are."""
    if len(member_values) == 1:
        return dict(member_values[0])
    return {f"{number}.{name}": value for number, values in enumerate(member_values) for name, value in values.items()}


def _complete(tensors: Tensors, config: StackConfig) -> Tensors:
    members = zip(config.members(), split_by_member(tensors, len(config.kinds)), strict=True)
    return join_by_member([kind.complete(member_tensors, member) for (kind, member), member_tensors in members])


def _find_objection(config: StackConfig, clip: ClipShape) -> str:
    return next(filter(None, (kind.objection(member, clip) for kind, member in config.members())), "")
