"""The architectures that a motion module can have: those of this pack, and those that other packs bring.

This pack's own are registered by the decorator `motion_module`. A module of another custom-node pack, which cannot
import this one under a name that it knows, lists the same words in its `__init__.py`, whichever of the two loads first:

    LOOM_MOTION_MODULES = [{"key": "wobble", "module": Wobble, "config": WobbleConfig}]

Nothing is called at import: the lists of all imported modules are read whenever a motion model is loaded or made.
"""

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import MotionModelError
from .architecture import OUR_NAME, Architecture, architecture_of
from .trial import tried_out

MEETING_PLACE = "LOOM_MOTION_MODULES"


ARCHITECTURES: dict[str, Architecture] = {}


def motion_module(key: str, **parts: Any) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Registers the decorated class; `parts` are the other fields of Architecture, of which `config` is required.

    Raises MotionModelError at once when a part of the contract is missing or the key is taken. Whether it keeps its
    promises is tried out later, by `architectures`, since what the class needs may stand below it in its file.
    """

    def register(module: type[nn.Module]) -> type[nn.Module]:
        architecture = architecture_of({"key": key, "module": module} | parts, OUR_NAME)
        if key in ARCHITECTURES:
            raise _taken(key, [ARCHITECTURES[key].origin, architecture.origin])
        ARCHITECTURES[key] = architecture
        return module

    return register


@dataclass(frozen=True)
class Architectures:
    """All that can be used now by their keys, and why others, by theirs, cannot."""

    usable: Mapping[str, Architecture]
    refused: Mapping[str, MotionModelError]

    def __getitem__(self, key: str) -> Architecture:
        """The one of that key; MotionModelError when there is none."""
        if key in self.usable:
            return self.usable[key]
        raise self.refused.get(key) or MotionModelError(
            f"There is no motion module architecture '{key}': choose one of {', '.join(self.usable)}."
        )


def architectures() -> Architectures:
    """This pack's architectures, and those that stand in the lists of other packs that are imported by now.

    Each has passed its trial (trial.py), once in a process: it keeps the shape, is the identity where it says so,
    scales its change by the strength, keeps cond chunks apart, and has a config that its shapes give back.
    """
    found: list[Architecture] = []
    refused: dict[str, MotionModelError] = {}
    for entry, origin in _listed():
        try:
            found.append(tried_out(architecture_of(entry, origin)))
        except MotionModelError as error:
            refused[_key_in(entry, origin)] = error
    for architecture in ARCHITECTURES.values():
        tried_out(architecture)
    bringing = Counter(architecture.key for architecture in [*ARCHITECTURES.values(), *found])
    for key in (key for key, count in bringing.items() if count > 1):
        known = [ARCHITECTURES[key]] if key in ARCHITECTURES else []
        refused[key] = _taken(
            key, sorted(architecture.origin for architecture in [*known, *found] if architecture.key == key)
        )
    others = {architecture.key: architecture for architecture in found if architecture.key not in refused}
    return Architectures(ARCHITECTURES | others, refused)


def log_refused(found: Architectures) -> Architectures:
    """The same; what cannot be used of other packs' modules is told in ComfyUI's log, once."""
    for error in found.refused.values():
        _warn_once(str(error))
    return found


@lru_cache(maxsize=64)
def _warn_once(sentence: str) -> None:
    logging.warning(sentence)


def _listed() -> Iterator[tuple[Any, str]]:
    """The entries of all lists with their packs, each once, though a pack may show its list in several modules."""
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        listed = getattr(module, "__dict__", {}).get(MEETING_PLACE, ())
        for entry in listed if isinstance(listed, (list, tuple)) else [listed]:
            if id(entry) not in seen:
                seen.add(id(entry))
                yield entry, Path(name).name.partition(".")[0]


def _key_in(entry: Any, origin: str) -> str:
    return str(entry.get("key", origin)) if isinstance(entry, Mapping) else origin


def _taken(key: str, origins: list[str]) -> MotionModelError:
    packs = " and ".join(f"'{origin}'" for origin in origins)
    return MotionModelError(
        f"The motion module key '{key}' is taken twice, by {packs}: choose another key for one of them."
    )
