"""Architecture and config of each module in a file, read from the shapes of its tensors before memory is allocated."""

from collections.abc import Mapping
from functools import lru_cache

from torch import nn

from ..architectures.registry import KnownArchitectures
from ..architectures.stacking import find_architecture
from ..contract import Shapes
from ..errors import FileFault
from ..families import Family
from ..motion_model import ModuleSpec
from .motion_file import ModuleTensors, MotionFile

LARGEST_SIZE = 2**17  # of one dimension of a tensor
REMEDY = "Choose another motion model, or get an unmodified copy of this one."


def read_specs(file: MotionFile, family: Family) -> dict[str, ModuleSpec]:
    """Return the spec of each module in `file` by site; raise FileFault where shapes contradict each other."""
    specs = {site: _read_module_spec(site, module, family, file.known) for site, module in file.modules.items()}
    _require_layout(specs, family)
    return specs


def _read_module_spec(site: str, module: ModuleTensors, family: Family, known: KnownArchitectures) -> ModuleSpec:
    architecture = find_architecture(module.architecture, known)
    path, shapes = f"{site}.{module.architecture}", module.shapes
    largest = max((size for shape in shapes.values() for size in shape), default=0)
    if largest > LARGEST_SIZE:
        raise FileFault(f"has a tensor of size {largest} in '{path}', expected up to {LARGEST_SIZE}. {REMEDY}")
    try:
        config = architecture.config.from_shapes(shapes, family)
        expected = _compute_shapes(architecture, config)
    except (KeyError, ValueError, IndexError, AssertionError, TypeError, RuntimeError) as error:
        raise FileFault(f"has tensors in '{path}' that do not form a {architecture.key} ({error}). {REMEDY}") from error
    _compare_shapes(shapes, expected, path)
    return ModuleSpec(architecture, config)


@lru_cache(maxsize=16)
def _compute_shapes(architecture, config) -> dict[str, tuple[int, ...]]:
    module = architecture.module(config, ops=nn, device="meta")
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def _compare_shapes(shapes: Shapes, expected: Shapes, path: str) -> None:
    optional = {key for key in expected if key.endswith(".pe")}
    for key in sorted((shapes.keys() | expected.keys()) - (optional - shapes.keys())):
        if shapes.get(key) != expected.get(key):
            raise FileFault(
                f"has {_format_shape(shapes.get(key))} as '{path}.{key}', expected "
                f"{_format_shape(expected.get(key))}. {REMEDY}"
            )


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
