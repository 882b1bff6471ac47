"""Motion model files: read safely, recognised, checked shape by shape before anything is allocated."""

import pickle
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import comfy.utils
from comfy.model_patcher import ModelPatcher
from torch import nn

from ..architectures.registry import Architectures, architectures, log_refused
from ..architectures.stacking import keys_in, kind_named
from ..contract import Shapes, Tensors
from ..errors import MotionModelError, cause_of
from ..families import AUTO, CheckpointFacts, Family, recognise_family
from ..motion_model import ModuleSpec, MotionModel, make_custom_family
from .assembling import build_patcher, by_path, main_dtype, split_key
from .checkpoint_keys import flatten_tensors, foreign_architecture, motion_tensors, spelling_of
from .saving import Header, read_header
from .unsupported import refuse_other_files, refuse_unregistered

LARGEST_DIMENSION = 16384


def load_motion_model(path: str, family: str = AUTO, disable_dynamic: bool = False) -> MotionModel:
    """The motion model in the file at `path`; `family` overrides detection where files of two families look alike."""
    checkpoint, metadata = _read(path)
    return motion_model_from_tensors(
        checkpoint, Path(path).name, family, (path, family), disable_dynamic, metadata=metadata
    )


def load_motion_patcher(path: str, family: str, disable_dynamic: bool = False) -> ModelPatcher:
    """The factory by which the host makes further copies of a loaded motion model, one per GPU for example."""
    return load_motion_model(path, family, disable_dynamic).patcher


def motion_model_from_tensors(
    checkpoint: Mapping[str, Any],
    name: str,
    family: str = AUTO,
    source: tuple[str, str] | None = None,
    disable_dynamic: bool = False,
    *,
    metadata: Mapping[str, str] | None = None,
) -> MotionModel:
    """The motion model in an already read `checkpoint`; `source` is the file and choice to load it from again.

    `metadata` is that of a safetensors file; from a file of ours it says how the motion model was trained.
    """
    tensors, header = _flat(checkpoint, name), read_header(metadata, name)
    known = log_refused(architectures())
    _refuse_others(tensors, header, known, name)
    motion = motion_tensors(tensors)
    if not motion:
        raise MotionModelError(
            f"Motion model '{name}' holds no motion modules (its first key is '{next(iter(tensors), 'missing')}'): "
            "choose an AnimateDiff or Hotshot-XL motion model."
        )
    found, reason = _family(tensors, motion, header, known, name, family)
    sites = _sites(motion, found, known, name)
    _require_layout(sites, found, name)
    patcher = build_patcher(motion, sites, disable_dynamic)
    if source is not None:
        patcher.cached_patcher_init = (load_motion_patcher, source)
    return MotionModel(name, patcher, found, reason, main_dtype(motion), sites)


def _refuse_others(tensors: Tensors, header: Header | None, known: Architectures, name: str) -> None:
    """Files that are no motion models, and those of an architecture whose pack is not here."""
    if header:
        known_keys = {*known.usable, *known.refused}
        refuse_unregistered((key for key in header.brought_by if key not in known_keys), header.brought_by, name)
    else:
        refuse_other_files({key: tuple(tensor.shape) for key, tensor in tensors.items()}, name)
    foreign = foreign_architecture(tensors)
    if foreign and foreign not in known.refused:
        refuse_unregistered([foreign], header.brought_by if header else {}, name)
    for key in (foreign, *(header.brought_by if header else ())):
        if key:
            known[key]  # raises what is wrong with it


def _family(
    tensors: Tensors, motion: Tensors, header: Header | None, known: Architectures, name: str, choice: str
) -> tuple[Family, str]:
    """How it was trained and why we think so: as a person says, as its header does, or as its keys and shapes do."""
    used = {split_key(key)[1] for key in motion}
    if used == {"temporal_transformer"} and (choice != AUTO or not header):
        return recognise_family(_facts(tensors, motion), name, choice)
    if choice != AUTO:
        raise MotionModelError(
            f"Motion model '{name}' cannot be {choice}, since it is made of {' and '.join(sorted(used))}: "
            f"set family to '{AUTO}'."
        )
    if header:
        return header.family, "its header"
    return make_custom_family(
        (known[member] for key in used for member in keys_in(key)), dict.fromkeys(split_key(key)[0] for key in motion)
    ), "the names of its tensors"


def _read(path: str) -> tuple[Mapping[str, Any], Mapping[str, str] | None]:
    name = Path(path).name
    try:
        content, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
        if not isinstance(content, Mapping):
            raise TypeError(f"it holds a {type(content).__name__}")
        return content, metadata
    except MemoryError:
        raise
    except OSError as error:
        raise MotionModelError(
            f"Motion model '{name}' could not be opened ({error.strerror or error}): "
            "check that the file is there and may be read."
        ) from error
    except Exception as error:  # a damaged file makes the readers raise anything, AssertionError and struct.error too
        raise _unsafe(name) if _is_code(error) else _unreadable(name, error) from error


def _flat(checkpoint: Mapping[str, Any], name: str) -> Tensors:
    try:
        return flatten_tensors(checkpoint)
    except RecursionError as error:  # a dictionary that holds itself
        raise _unreadable(name, error) from error


def _is_code(error: Exception) -> bool:
    """Whether the safe unpickler stopped at a name or a call; its other complaints are of damage."""
    return isinstance(error, pickle.UnpicklingError) and ("GLOBAL" in str(error) or "call reduce" in str(error))


def _unsafe(name: str) -> MotionModelError:
    return MotionModelError(
        f"Motion model '{name}' contains Python code besides tensors, which is never run: "
        "get a .safetensors version of it."
    )


def _unreadable(name: str, error: Exception) -> MotionModelError:
    return MotionModelError(
        f"Motion model '{name}' could not be read, since it is damaged, cut short or of another kind "
        f"({cause_of(error)}): download it again."
    )


def _facts(tensors: Tensors, motion: Tensors) -> CheckpointFacts:
    levels = {key.split(".")[1] for key in motion if key.startswith("down_blocks.")}
    positions = [tensor.shape[1] for key, tensor in motion.items() if key.endswith(".pe") and tensor.ndim == 3]
    return CheckpointFacts(
        spelling=spelling_of(tensors),
        levels=len(levels),
        mid=any(key.startswith("mid_block.") for key in motion),
        positions=min(positions, default=None),
    )


def _sites(motion: Tensors, family: Family, known: Architectures, name: str) -> dict[str, ModuleSpec]:
    sites: dict[str, ModuleSpec] = {}
    for path, shapes in by_path({key: tuple(tensor.shape) for key, tensor in motion.items()}).items():
        site, _, architecture = path.rpartition(".")
        if site in sites:
            raise MotionModelError(
                f"Motion model '{name}' has both a {sites[site].architecture.key} and a {architecture} at '{site}': "
                "keep one of them in the file."
            )
        sites[site] = _site(path, shapes, family, known, name)
    return sites


def _require_layout(sites: Mapping[str, ModuleSpec], family: Family, name: str) -> None:
    expected = family.site_names
    odd = [site for site in expected if site not in sites] + [site for site in sites if site not in expected]
    if odd:
        raise MotionModelError(
            f"Motion model '{name}' has {'a' if odd[0] in sites else 'no'} motion module at '{odd[0]}', unlike the "
            f"{len(expected)} of {family.name}: download it again, or choose a whole motion model."
        )


def _site(path: str, shapes: Shapes, family: Family, known: Architectures, name: str) -> ModuleSpec:
    architecture = kind_named(path.rpartition(".")[2], known)
    largest = max((size for shape in shapes.values() for size in shape), default=0)
    if largest > 8 * LARGEST_DIMENSION:
        raise MotionModelError(
            f"Motion model '{name}' has a tensor of size {largest} in '{path}', expected at most "
            f"{8 * LARGEST_DIMENSION}: download it again."
        )
    try:
        config = architecture.config.from_shapes(shapes, family)
        expected = _expected_shapes(architecture, config)
    except (KeyError, ValueError, IndexError, AssertionError, TypeError, RuntimeError) as error:
        raise MotionModelError(
            f"Motion model '{name}' has tensors in '{path}' that make no {architecture.key} ({error}): "
            "download it again."
        ) from error
    _compare(shapes, expected, path, name)
    return ModuleSpec(architecture, config)


@lru_cache(maxsize=16)
def _expected_shapes(architecture, config) -> dict[str, tuple[int, ...]]:
    module = architecture.module(config, ops=nn, device="meta")
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def _compare(shapes: Shapes, expected: Shapes, path: str, name: str) -> None:
    optional = {key for key in expected if key.endswith(".pe")}
    for key in sorted((shapes.keys() | expected.keys()) - (optional - shapes.keys())):
        if shapes.get(key) != expected.get(key):
            raise MotionModelError(
                f"Motion model '{name}' has {_shape(shapes.get(key))} as '{path}.{key}', expected "
                f"{_shape(expected.get(key))}: download it again, or choose another motion model."
            )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(list(shape))
