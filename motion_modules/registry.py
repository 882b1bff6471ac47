"""The architectures that a motion module can have: those of this pack, and those that other packs bring.

This pack's own are registered by the decorator `motion_module`. A module of another custom-node pack, which cannot
import this one under a name that it knows, lists the same words in its `__init__.py`, whichever of the two loads first:

    LOOM_MOTION_MODULES = [{"key": "wobble", "module": Wobble, "config": WobbleConfig}]

Nothing is called at import: the lists of all imported modules are read whenever a motion model is loaded or made.
"""

import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from .contract import ClipShape, MotionConfigs, Tensors
from .errors import MotionModelError
from .trial import tried_out

MEETING_PLACE = "LOOM_MOTION_MODULES"
OUR_NAME = "AnimateDiff Loom"
_key = re.compile(r"[a-z][a-z0-9_]*")
PARTS_OF_DIFFUSERS = ("norm", "proj_in", "transformer_blocks", "proj_out")  # what stands in place of a key there


def unchanged(tensors: Tensors, config: Any) -> Tensors:
    return tensors


def no_objection(config: Any, clip: ClipShape) -> str:
    return ""


@dataclass(frozen=True)
class Architecture:
    """One kind of motion module: its class, its config, and what it promises.

    `key`: a word of lower-case letters, digits and underscores. In a checkpoint the tensors of a module stand under
    `<site>.<key>.`, which is how it is recognised.
    `module`, `config`: see contract.py, `MotionConfig` and `MotionConfigs` above all.
    `identity_at_start`: a fresh module returns its input bit for bit.
    `attends`: it attends along frames, and obeys `inputs.attention_scale`.
    `joint_unet_norm`, `joint_module_norm`: the UNet's group norms, or those of its own, see all frames of a clip.
    `complete(tensors, config)` adds the buffers that a file may leave out.
    `objection(config, clip)` says why a site of this size cannot have it, as half a sentence, or nothing.
    `origin` is the name of the pack that brings it.
    """

    key: str
    module: type[nn.Module]
    config: MotionConfigs
    identity_at_start: bool = True
    attends: bool = True
    joint_unet_norm: bool = False
    joint_module_norm: bool = False
    complete: Callable[[Tensors, Any], Tensors] = unchanged
    objection: Callable[[Any, ClipShape], str] = no_objection
    origin: str = OUR_NAME


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


def architecture_of(entry: Any, origin: str) -> Architecture:
    """What `entry`, a dictionary of the fields of Architecture, describes; MotionModelError when it lacks a part."""
    of = f"of '{origin}'"
    if not isinstance(entry, Mapping):
        raise _incomplete(f"A motion module {of}", f"is listed as a {type(entry).__name__}", "list it as a dictionary")
    named = f"The motion module '{entry.get('key', 'without a key')}' {of}"
    for part in ("key", "module", "config"):
        if part not in entry:
            raise _incomplete(named, f"has no '{part}'", f"give its {part} where it is registered")
    unknown = sorted(set(entry) - {field.name for field in fields(Architecture)} | {"origin"} & set(entry))
    if unknown:
        raise _incomplete(named, f"has the part '{unknown[0]}', which is unknown", "take that part out")
    _check_parts(named, entry)
    architecture = Architecture(**entry, origin=origin)
    try:
        hash(architecture)
    except TypeError as error:
        raise _incomplete(
            named, f"has a part that can change ({error})", "give the config class itself, and plain True or False"
        ) from error
    return architecture


def _check_parts(named: str, entry: Mapping) -> None:
    key, module, config = entry["key"], entry["module"], entry["config"]
    if not (isinstance(key, str) and _key.fullmatch(key)) or key in PARTS_OF_DIFFUSERS:
        raise _incomplete(
            named, "has a key that cannot stand in a file", "use a word of lower-case letters such as my_mixer"
        )
    if not (isinstance(module, type) and issubclass(module, nn.Module)):
        raise _incomplete(named, "has a module that is no nn.Module class", "give the class itself")
    for part in ("complete", "objection"):
        if not callable(entry.get(part, unchanged)):
            raise _incomplete(named, f"has a part '{part}' that is no function", "give a function or leave it out")
    for method in ("from_shapes", "for_site"):
        if not callable(getattr(config, method, None)):
            raise _incomplete(named, f"has a config without '{method}'", f"add the class method {method}")


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


def _incomplete(named: str, fault: str, advice: str) -> MotionModelError:
    return MotionModelError(f"{named} {fault}: {advice}.")
