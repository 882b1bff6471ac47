"""The architectures that a motion module can have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .errors import MotionModelError

Shapes = Mapping[str, tuple[int, ...]]
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Architecture:
    """One kind of motion module.

    In a checkpoint its tensors stand under `<site>.<key>.`, which is how it is recognised. `configure` derives a
    frozen config with `channels` and `positions` from their shapes and the family, `complete` adds tensors that a
    file may leave out, and `module(config, ops, device=, dtype=)` builds the module, whose `forward(x, inputs)` keeps
    the shape of `x`.
    """

    key: str
    configure: Callable[[Shapes, Any], Any]
    complete: Callable[[Tensors, Any], Tensors]
    module: type[nn.Module]


ARCHITECTURES: dict[str, Architecture] = {}


def register(architecture: Architecture) -> Architecture:
    """Make `architecture` known to every loader; its key must be free."""
    if architecture.key in ARCHITECTURES:
        raise MotionModelError(
            f"The motion module architecture '{architecture.key}' is already registered: choose another key."
        )
    ARCHITECTURES[architecture.key] = architecture
    return architecture
