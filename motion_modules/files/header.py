"""Header that this pack writes into motion model files.

The metadata of the safetensors file has one more entry, `loom_motion_model`: as JSON how the motion
model was trained, the sites of its modules, and the name of the pack that provides each
architecture. A file without that entry is recognised by its tensors alone; unless they are
AnimateDiff's, it is then taken for a motion model of any base model that has the same widths.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..architectures.stacking import list_members
from ..errors import FileFault
from ..families import FAMILIES, Family
from ..motion_model import ModuleSpec

ENTRY, VERSION = "loom_motion_model", 1
LARGEST_NUMBER = 4096  # of frames or positions that a header may claim
_training_fields = [field.name for field in fields(Family) if field.name != "signs"]
_EXAMPLE = asdict(FAMILIES[0])


@dataclass(frozen=True)
class Header:
    """Training of a motion model, and the name of the pack that provides each architecture in its file."""

    family: Family
    packs: Mapping[str, str]


def build_header(family: Family, specs: Mapping[str, ModuleSpec]) -> dict[str, str]:
    """Return the metadata for a file of modules with these `specs`."""
    kinds = {kind for spec in specs.values() for kind in list_members(spec.architecture)}
    packs = {kind.key: kind.origin for kind in sorted(kinds, key=lambda kind: kind.key)}
    training = {name: getattr(family, name) for name in _training_fields} | {"own_sites": list(specs)}
    content = {"version": VERSION, "architectures": packs, "training": training}
    return {"format": "pt", ENTRY: json.dumps(content)}


def read_header(metadata: Mapping[str, str] | None) -> Header | None:
    """Return what this pack wrote into the `metadata` of a file, or None where it wrote nothing."""
    if not metadata or ENTRY not in metadata:
        return None
    try:
        content = json.loads(metadata[ENTRY])
        if content["version"] > VERSION:
            raise _make_newer_fault(content["version"])
        packs = {str(key): str(origin) for key, origin in content["architectures"].items()}
        return Header(_read_family({"adapters": [], **content["training"]}), packs)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileFault(
            f"has an entry '{ENTRY}' in its header that cannot be read ({type(error).__name__}). "
            "Download it again, or save the motion model again."
        ) from error


def _make_newer_fault(version: int) -> FileFault:
    return FileFault(
        f"was saved by a newer AnimateDiff Loom (format {version}, this one reads {VERSION}). Update this pack."
    )


def _read_family(training: Mapping[str, Any]) -> Family:
    """Return the published family that was trained in the same way, or a family of its own."""
    family = Family(**{name: _check_field(name, training[name]) for name in _training_fields})
    published = (each for each in FAMILIES if replace(each, signs=()) == replace(family, own_sites=()))
    return next((each for each in published if set(each.site_names) == set(family.own_sites)), family)


def _check_field(name: str, value: Any) -> Any:
    """Return `value` as the field `name` of Family; raise ValueError when its type or size is wrong."""
    if name in ("own_sites", "adapters"):
        return tuple(str(each) for each in value)
    expected = type(_EXAMPLE[name])
    if type(value) is not expected or (expected is int and not 0 <= value <= LARGEST_NUMBER):
        raise ValueError(f"{name} is {value}")
    return value
