"""A kind of motion module: its class, its config, and what it promises."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from ..contract import ClipShape, ConfigBuilder, Tensors
from ..errors import MotionModelError

OUR_NAME = "AnimateDiff Loom"
PARTS_OF_DIFFUSERS = ("norm", "proj_in", "transformer_blocks", "proj_out")  # which take the place of a key there
_key = r"[a-z][a-z0-9_]*"


def keep_tensors(tensors: Tensors, config: Any) -> Tensors:
    return tensors


def accept_any_clip(config: Any, clip: ClipShape) -> str:
    return ""


@dataclass(frozen=True)
class Architecture:
    """A kind of motion module: its class, its config, and what it promises.

    `key`: a word of lower-case letters, digits and underscores. A checkpoint names the tensors of a
    module `<site>.<key>.<parameter>`, which is how the architecture is recognised. `module`,
    `config`: see contract.py, `MotionConfig` and `ConfigBuilder` above all. `identity_at_start`: a
    fresh module returns its input bit for bit. `attends`: the module attends along frames, and
    obeys `inputs.attention_scale`. `moves_positions`: it takes the positions of frames from a table
    by `inputs.positions`. `joint_unet_norm`, `joint_module_norm`: group norms of the UNet,
    or of the module, see all frames of a clip. `complete(tensors, config)` adds the buffers that a
    file may leave out. `objection(config, clip)` returns why a site of this size cannot have the
    module, as half a sentence, or "". `origin`: the name of the pack that brings it.
    """

    key: str
    module: type[nn.Module]
    config: ConfigBuilder
    identity_at_start: bool = True
    attends: bool = True
    moves_positions: bool = False
    joint_unet_norm: bool = False
    joint_module_norm: bool = False
    complete: Callable[[Tensors, Any], Tensors] = keep_tensors
    objection: Callable[[Any, ClipShape], str] = accept_any_clip
    origin: str = OUR_NAME


def build_architecture(entry: Any, origin: str) -> Architecture:
    """Build the architecture that `entry` describes, a dictionary of fields; raise MotionModelError when it cannot."""
    if not isinstance(entry, Mapping):
        raise _make_incomplete_error(
            f"A motion module of '{origin}'", f"is listed as a {type(entry).__name__}", "List it as a dictionary"
        )
    subject = f"The motion module '{entry.get('key', 'without a key')}' of '{origin}'"
    for part in ("key", "module", "config"):
        if part not in entry:
            raise _make_incomplete_error(subject, f"has no '{part}'", f"Add '{part}' where it is registered")
    unknown = sorted(set(entry) - {field.name for field in fields(Architecture)} | {"origin"} & set(entry))
    if unknown:
        raise _make_incomplete_error(subject, f"has the part '{unknown[0]}', which is unknown", "Remove that part")
    _check_parts(subject, entry)
    architecture = Architecture(**entry, origin=origin)
    try:
        hash(architecture)
    except TypeError as error:
        raise _make_incomplete_error(
            subject, f"has a part that can change ({error})", "Pass the config class itself, and plain True or False"
        ) from error
    return architecture


def _check_parts(subject: str, entry: Mapping) -> None:
    key, module, config = entry["key"], entry["module"], entry["config"]
    if not (isinstance(key, str) and re.fullmatch(_key, key)) or key in PARTS_OF_DIFFUSERS:
        raise _make_incomplete_error(
            subject, "has a key that cannot stand in a file", "Use a word of lower-case letters such as my_mixer"
        )
    if not (isinstance(module, type) and issubclass(module, nn.Module)):
        raise _make_incomplete_error(subject, "has a module that is not an nn.Module class", "Pass the class itself")
    for part in ("complete", "objection"):
        if not callable(entry.get(part, keep_tensors)):
            raise _make_incomplete_error(
                subject, f"has a part '{part}' that is not a function", "Pass a function or leave it out"
            )
    for method in ("from_shapes", "for_site"):
        if not callable(getattr(config, method, None)):
            raise _make_incomplete_error(subject, f"has a config without '{method}'", f"Add the class method {method}")


def _make_incomplete_error(subject: str, fault: str, advice: str) -> MotionModelError:
    return MotionModelError(f"{subject} {fault}. {advice}.")
