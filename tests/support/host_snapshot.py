"""The host's functions and class attributes, to see that nothing replaced any of them."""

import sys
from types import FunctionType, ModuleType

import comfy_extras.nodes_model_advanced  # noqa: F401

HOST_PACKAGES = ("comfy", "comfy_extras", "nodes", "node_helpers", "execution")
CODE = (FunctionType, type, property, classmethod, staticmethod)


def take() -> dict[str, object]:
    """Every function, class, method and class attribute of the host's loaded modules, by its name."""
    found: dict[str, object] = {}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in HOST_PACKAGES and isinstance(module, ModuleType):
            for attribute, value in list(vars(module).items()):
                if isinstance(value, CODE):
                    found[f"{name}.{attribute}"] = value
                if isinstance(value, type) and value.__module__ == name:
                    found |= {f"{name}.{attribute}.{key}": member for key, member in vars(value).items()}
    return found


def changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """The names whose value in `after` is not the very object that it was in `before`."""
    return [name for name, value in before.items() if after.get(name) is not value and not name.endswith("__")]
