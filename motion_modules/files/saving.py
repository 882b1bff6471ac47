"""Motion model files that this pack writes: tensors by `<site>.<architecture>.<parameter>`, the rest in the header.

The header of a safetensors file has one more entry, `loom_motion_model`: as JSON how the motion model was trained, the
sites of its modules, and for each architecture the name of the pack that brings it. A file without that entry is
recognised by its tensors alone, and a motion model of another architecture than AnimateDiff's then fits any base model
of its widths.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from ..architectures.stacking import members_of
from ..contract import Tensors
from ..errors import MotionModelError, cause_of
from ..families import FAMILIES, Family
from ..motion_model import ModuleSpec, MotionModel
from .assembling import read_unpatched_weights

ENTRY, VERSION = "loom_motion_model", 1
LARGEST_NUMBER = 4096  # of frames or positions that a header may claim
_of_training = {field.name: field for field in fields(Family) if field.name != "signs"}


@dataclass(frozen=True)
class Header:
    """What the header of a file of ours says: how it was trained, and which pack brings each architecture."""

    family: Family
    brought_by: Mapping[str, str]


def save_motion_model(motion_model: MotionModel, path: Path) -> None:
    """Write `motion_model` as safetensors, in the precision in which it is loaded; loading it gives the same clip.

    Raises MotionModelError when other weights are put on it, as by a motion LoRA, which a file of it would not have,
    and when the file cannot be written.
    """
    if motion_model.patcher.patches:
        raise MotionModelError(
            f"Motion model '{motion_model.name}' has a LoRA on it, which would not be saved: "
            "save the motion model from before the LoRA."
        )
    weights = read_unpatched_weights(motion_model.patcher.model, motion_model.patcher.backup)
    save_motion_tensors(weights, motion_model.family, motion_model.specs, path)


def save_motion_tensors(tensors: Tensors, family: Family, sites: Mapping[str, ModuleSpec], path: Path) -> None:
    """Write `tensors`, named `<site>.<architecture>.<parameter>`, with the header of this pack."""
    plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, path, metadata=build_header(family, sites))
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            path.unlink()
        raise MotionModelError(
            f"The file '{path.name}' could not be written ({cause_of(error)}): check that the disk has room for it, "
            "and that its folder may be written."
        ) from error


def build_header(family: Family, sites: Mapping[str, ModuleSpec]) -> dict[str, str]:
    """The metadata of a file of ours."""
    kinds = {kind for site in sites.values() for kind in members_of(site.architecture)}
    brought_by = {kind.key: kind.origin for kind in sorted(kinds, key=lambda kind: kind.key)}
    training = {name: getattr(family, name) for name in _of_training} | {"own_sites": list(sites)}
    content = {"version": VERSION, "architectures": brought_by, "training": training}
    return {"format": "pt", ENTRY: json.dumps(content)}


def read_header(metadata: Mapping[str, str] | None, name: str) -> Header | None:
    """What this pack wrote into the header of the file `name`, or None where it wrote nothing."""
    if not metadata or ENTRY not in metadata:
        return None
    try:
        content = json.loads(metadata[ENTRY])
        if content["version"] > VERSION:
            raise _newer(content["version"], name)
        brought_by = {str(key): str(origin) for key, origin in content["architectures"].items()}
        return Header(_family(content["training"]), brought_by)
    except MotionModelError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MotionModelError(
            f"Motion model '{name}' has an entry '{ENTRY}' in its header that cannot be read ({type(error).__name__}): "
            "download it again, or make it anew."
        ) from error


def _newer(version: int, name: str) -> MotionModelError:
    return MotionModelError(
        f"Motion model '{name}' was saved by a newer AnimateDiff Loom (format {version}, here {VERSION}): "
        "update this pack."
    )


def _family(training: Mapping[str, Any]) -> Family:
    """A known family where all is as in that one, else one of its own."""
    values = {name: _checked(name, training[name]) for name in _of_training}
    made = Family(**values)
    published = (family for family in FAMILIES if replace(family, signs=()) == replace(made, own_sites=()))
    return next((family for family in published if set(family.site_names) == set(made.own_sites)), made)


def _checked(name: str, value: Any) -> Any:
    """`value` as the field `name` of Family has it; ValueError when it is of another type or out of all bounds."""
    if name == "own_sites":
        return tuple(str(site) for site in value)
    wanted = type(_EXAMPLE[name])
    if type(value) is not wanted or (wanted is int and not 0 <= value <= LARGEST_NUMBER):
        raise ValueError(f"{name} is {value}")
    return value


_EXAMPLE = asdict(FAMILIES[0])
