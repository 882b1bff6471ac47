"""The registered adapters, in the order in which they look for their tensors in a file."""

from collections.abc import Callable
from typing import Any

from torch import nn

from .adapter import Adapter

ADAPTERS: dict[str, Adapter] = {}


def adapter(key: str, **fields: Any) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Register the decorated class; `fields` are the other fields of Adapter."""

    def register(module: type[nn.Module]) -> type[nn.Module]:
        ADAPTERS[key] = Adapter(key, module=module, **fields)
        return module

    return register
