"""Configs of modules and adapters in a file, read from the shapes of their tensors before memory is allocated."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import nn

from ..adapters.adapter import Adapter, AdapterSpec
from ..architectures.architecture import Architecture
from ..architectures.registry import KnownArchitectures
from ..architectures.stacking import find_architecture
from ..contract import Shapes, Tensors
from ..errors import FileFault, describe_cause
from ..families import Family
from ..motion_model import ModuleSpec
from .adapter_tensors import AdapterTensors
from .motion_file import ModuleTensors, MotionFile

LARGEST_SIZE = 2**17  # of one dimension of a tensor
REMEDY = "Choose another file, or get an unmodified copy of this one."
FLOATS = {torch.float64, torch.float32, torch.float16, torch.bfloat16}
FLOATS |= {getattr(torch, f"float8_{kind}") for kind in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz")}


def read_specs(file: MotionFile, family: Family) -> dict[str, ModuleSpec]:
    """Return the spec of each module in `file` by site; raise FileFault where shapes contradict each other."""
    specs = {site: _read_module_spec(site, module, family, file.known) for site, module in file.modules.items()}
    _require_layout(specs, family)
    return specs


def read_adapter_specs(file: MotionFile, family: Family) -> tuple[AdapterSpec, ...]:
    """Return the specs of the adapters in `file`.

    Raise FileFault where shapes contradict each other, or where an adapter of `family` is missing.
    """
    keys = {each.adapter.key for each in file.adapters}
    missing = [key for key in family.adapters if key not in keys]
    if missing:
        raise FileFault(f"has no tensors of the adapter '{missing[0]}', which {family.name} needs. {REMEDY}")
    return tuple(map(read_adapter_spec, file.adapters))


def read_adapter_spec(file: AdapterTensors) -> AdapterSpec:
    """Return the spec of an adapter in a file; raise FileFault where shapes contradict each other."""
    return AdapterSpec(file.adapter, _read_config(file.adapter, file.adapter.path, file.tensors))


def _read_module_spec(site: str, module: ModuleTensors, family: Family, known: KnownArchitectures) -> ModuleSpec:
    architecture = find_architecture(module.architecture, known)
    path = f"{site}.{module.architecture}"
    return ModuleSpec(architecture, _read_config(architecture, path, module.tensors, family))


def _read_config(kind: Architecture | Adapter, path: str, tensors: Tensors, *training: Family):
    """Return the config of a module of this `kind` from the shapes of its `tensors`, and compare them with its own."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    check_sizes(shapes, path)
    try:
        config = kind.config.from_shapes(shapes, *training)
        expected = _compute_tensors(kind, config)
    except Exception as error:  # code of other packs may raise anything
        cause = describe_cause(error)
        raise FileFault(f"has tensors in '{path}' that do not form a {kind.key} ({cause}). {REMEDY}") from error
    compare_shapes(shapes, {key: tuple(tensor.shape) for key, tensor in expected.items()}, path)
    compare_dtypes(tensors, expected, path)
    return config


def check_sizes(shapes: Shapes, path: str) -> None:
    """Raise FileFault for a tensor without numbers, or too large for any model; `path` is the part before the names."""
    for name, shape in shapes.items():
        if 0 in shape:
            raise FileFault(f"has a tensor without numbers, of shape {list(shape)}, as '{path}.{name}'. {REMEDY}")
        if max(shape, default=0) > LARGEST_SIZE:
            raise FileFault(f"has a tensor of size {max(shape)} in '{path}', expected up to {LARGEST_SIZE}. {REMEDY}")


@lru_cache(maxsize=16)
def _compute_tensors(kind, config) -> Tensors:
    """Return tensors without data, with the shapes and dtypes of the module's own."""
    return kind.module(config, ops=nn, device="meta").state_dict()


def compare_shapes(shapes: Shapes, expected: Shapes, path: str) -> None:
    """Raise FileFault for the first tensor that is missing, unexpected or of another shape, apart from tables."""
    optional = {key for key in expected if key.endswith(".pe")}
    for key in sorted((shapes.keys() | expected.keys()) - (optional - shapes.keys())):
        if shapes.get(key) != expected.get(key):
            raise FileFault(
                f"has {_format_shape(shapes.get(key))} as '{path}.{key}', expected "
                f"{_format_shape(expected.get(key))}. {REMEDY}"
            )


def compare_dtypes(tensors: Tensors, expected: Tensors, path: str) -> None:
    """Raise FileFault for numbers that a cast would change: weights that are no floats, or buffers of another kind."""
    for key, tensor in tensors.items():
        dtype = expected[key].dtype
        if tensor.dtype != dtype and not (dtype.is_floating_point and tensor.dtype in FLOATS):
            wanted = "floating-point numbers" if dtype.is_floating_point else _format_dtype(dtype)
            raise FileFault(f"has {_format_dtype(tensor.dtype)} as '{path}.{key}', expected {wanted}. {REMEDY}")


def _format_dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _format_shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(list(shape))


def _require_layout(specs: Mapping[str, ModuleSpec], family: Family) -> None:
    expected = family.site_names
    missing, extra = [s for s in expected if s not in specs], [s for s in specs if s not in expected]
    if missing or extra:
        raise FileFault(
            f"has {'no' if missing else 'a'} motion module at '{(missing or extra)[0]}', unlike {family.name} with its "
            f"{len(expected)} modules. Choose a complete motion model."
        )
