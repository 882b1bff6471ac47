"""The registered architectures of motion modules: those of this pack, and those that other packs bring.

Those of this pack are registered by the decorator `motion_module`. Another custom-node pack, which
cannot import this one under a name that it knows, lists the same arguments in its `__init__.py`,
whichever of the two loads first:

    LOOM_MOTION_MODULES = [{"key": "wobble", "module": Wobble, "config": WobbleConfig}]

Nothing is called at import. The lists of all imported modules are read when a node offers
architectures, and when a motion model is loaded or made.
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
from .architecture import OUR_NAME, Architecture, build_architecture
from .trial import try_out

MEETING_PLACE = "LOOM_MOTION_MODULES"

ARCHITECTURES: dict[str, Architecture] = {}


def motion_module(key: str, **fields: Any) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Register the decorated class; `fields` are the other fields of Architecture, of which `config` is required.

    Raises MotionModelError when a required field is missing or the key is taken. The tests of this
    pack try the class out (trial.py).
    """

    def register(module: type[nn.Module]) -> type[nn.Module]:
        architecture = build_architecture({"key": key, "module": module} | fields, OUR_NAME)
        if key in ARCHITECTURES:
            raise _make_taken_error(key, [ARCHITECTURES[key].origin, architecture.origin])
        ARCHITECTURES[key] = architecture
        return module

    return register


@dataclass(frozen=True)
class KnownArchitectures:
    """Architectures that can be used now by key, and the errors of those that cannot."""

    usable: Mapping[str, Architecture]
    refused: Mapping[str, MotionModelError]

    def __getitem__(self, key: str) -> Architecture:
        """Return the architecture called `key`; raise MotionModelError when there is none."""
        if key in self.usable:
            return self.usable[key]
        raise self.refused.get(key) or MotionModelError(
            f"There is no motion module architecture '{key}'. Choose one of {', '.join(self.usable)}."
        )


def architectures() -> KnownArchitectures:
    """Return the architectures of this pack, and those in the lists of all packs that are imported by now.

    Those of other packs are tried out first (trial.py), once in a process. Those of this pack are
    tried out in its tests, so that no torch operation runs while the host starts.
    """
    others: list[Architecture] = []
    refused: dict[str, MotionModelError] = {}
    for entry, origin in _find_entries():
        try:
            architecture = build_architecture(entry, origin)
            try_out(architecture)
            others.append(architecture)
        except MotionModelError as error:
            refused[_read_key(entry, origin)] = error
    refused |= _refuse_shared_keys(others)
    usable = {architecture.key: architecture for architecture in others if architecture.key not in refused}
    return KnownArchitectures(ARCHITECTURES | usable, refused)


def log_refused(known: KnownArchitectures) -> KnownArchitectures:
    """Log once why modules of other packs cannot be used, and return `known`."""
    for error in known.refused.values():
        _warn_once(str(error))
    return known


def _refuse_shared_keys(others: list[Architecture]) -> dict[str, MotionModelError]:
    everything = [*ARCHITECTURES.values(), *others]
    shared = [key for key, count in Counter(architecture.key for architecture in everything).items() if count > 1]
    return {
        key: _make_taken_error(key, sorted(each.origin for each in everything if each.key == key)) for key in shared
    }


@lru_cache(maxsize=64)
def _warn_once(sentence: str) -> None:
    logging.warning(sentence)


def _find_entries() -> Iterator[tuple[Any, str]]:
    """Yield each entry of all lists once, with the name of its pack; a pack may show its list in several modules."""
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        listed = getattr(module, "__dict__", {}).get(MEETING_PLACE, ())
        for entry in listed if isinstance(listed, (list, tuple)) else [listed]:
            if id(entry) not in seen:
                seen.add(id(entry))
                yield entry, Path(name).name.partition(".")[0]


def _read_key(entry: Any, origin: str) -> str:
    return str(entry.get("key", origin)) if isinstance(entry, Mapping) else origin


def _make_taken_error(key: str, origins: list[str]) -> MotionModelError:
    packs = " and ".join(f"'{origin}'" for origin in origins)
    return MotionModelError(
        f"The motion module key '{key}' is taken twice, by {packs}. Choose another key for one of them."
    )
