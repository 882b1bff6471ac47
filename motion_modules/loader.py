"""Motion model files: read safely, recognised, checked shape by shape before anything is allocated."""

import pickle
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.ops
import comfy.utils
import torch
from comfy.model_patcher import CoreModelPatcher, ModelPatcher
from torch import nn

from .checkpoint_keys import flat_tensors, motion_tensors, spelling_of
from .errors import MotionModelError
from .families import AUTO, CheckpointFacts, Family, recognise
from .motion_model import MotionModel, MotionModules, Site
from .other_files import refuse_other_files
from .registry import ARCHITECTURES, Shapes, Tensors

LARGEST_DIMENSION = 16384


def load_motion_model(path: str, family: str = AUTO, disable_dynamic: bool = False) -> MotionModel:
    """The motion model in the file at `path`; `family` overrides detection where files of two families look alike."""
    return motion_model_from_tensors(_read(path), Path(path).name, family, (path, family), disable_dynamic)


def load_motion_patcher(path: str, family: str, disable_dynamic: bool = False) -> ModelPatcher:
    """The factory by which the host makes further copies of a loaded motion model, one per GPU for example."""
    return load_motion_model(path, family, disable_dynamic).patcher


def motion_model_from_tensors(
    checkpoint: Mapping[str, Any],
    name: str,
    family: str = AUTO,
    source: tuple[str, str] | None = None,
    disable_dynamic: bool = False,
) -> MotionModel:
    """The motion model in an already read `checkpoint`; `source` is the file and choice to load it from again."""
    tensors = _flat(checkpoint, name)
    refuse_other_files({key: tuple(tensor.shape) for key, tensor in tensors.items()}, name)
    motion = motion_tensors(tensors)
    if not motion:
        raise MotionModelError(
            f"Motion model '{name}' holds no motion modules (its first key is '{next(iter(tensors), 'missing')}'): "
            "choose an AnimateDiff or Hotshot-XL motion model."
        )
    found, reason = recognise(_facts(tensors, motion), name, family)
    sites = _sites(motion, found, name)
    _require_layout(sites, found, name)
    patcher = _patcher(motion, sites, disable_dynamic)
    if source is not None:
        patcher.cached_patcher_init = (load_motion_patcher, source)
    return MotionModel(name, patcher, found, reason, _main_dtype(motion), sites)


def _read(path: str) -> Mapping[str, Any]:
    name = Path(path).name
    try:
        content = comfy.utils.load_torch_file(path, safe_load=True)
        if not isinstance(content, Mapping):
            raise TypeError(f"it holds a {type(content).__name__}")
        return content
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
        return flat_tensors(checkpoint)
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
    cause = str(error).partition("\n")[0].partition(". ")[0].rstrip(".:") or type(error).__name__
    return MotionModelError(
        f"Motion model '{name}' could not be read, since it is damaged, cut short or of another kind ({cause}): "
        "download it again."
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


def _sites(motion: Tensors, family: Family, name: str) -> dict[str, Site]:
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, tensor in motion.items():
        site, architecture, parameter = _split(key)
        shapes.setdefault(f"{site}.{architecture}", {})[parameter] = tuple(tensor.shape)
    return {path.rpartition(".")[0]: _site(path, tensors, family, name) for path, tensors in shapes.items()}


def _require_layout(sites: Mapping[str, Site], family: Family, name: str) -> None:
    expected = family.site_names
    odd = [site for site in expected if site not in sites] + [site for site in sites if site not in expected]
    if odd:
        raise MotionModelError(
            f"Motion model '{name}' has {'a' if odd[0] in sites else 'no'} motion module at '{odd[0]}', unlike the "
            f"{len(expected)} of {family.name}: download it again, or choose a whole motion model."
        )


def _site(path: str, shapes: Shapes, family: Family, name: str) -> Site:
    architecture = ARCHITECTURES[path.rpartition(".")[2]]
    largest = max((size for shape in shapes.values() for size in shape), default=0)
    if largest > 8 * LARGEST_DIMENSION:
        raise MotionModelError(
            f"Motion model '{name}' has a tensor of size {largest} in '{path}', expected at most "
            f"{8 * LARGEST_DIMENSION}: download it again."
        )
    try:
        config = architecture.configure(shapes, family)
        expected = _expected_shapes(architecture, config)
    except (KeyError, ValueError, IndexError, AssertionError) as error:
        raise MotionModelError(
            f"Motion model '{name}' has tensors in '{path}' that make no {architecture.key} ({error}): "
            "download it again."
        ) from error
    _compare(shapes, expected, path, name)
    return Site(architecture, config)


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


def _split(key: str) -> tuple[str, str, str]:
    site, _, rest = key.partition(".motion_modules.")
    index, architecture, parameter = rest.split(".", 2)
    return f"{site}.motion_modules.{index}", architecture, parameter


def _patcher(motion: Tensors, sites: Mapping[str, Site], disable_dynamic: bool) -> ModelPatcher:
    device = comfy.model_management.get_torch_device()
    dtype = comfy.model_management.unet_dtype(
        device, comfy.utils.calculate_parameters(motion), weight_dtype=_main_dtype(motion)
    )
    modules = {f"{name}.{site.architecture.key}": _module(site, dtype) for name, site in sites.items()}
    model = MotionModules(modules).requires_grad_(False).eval()
    model.load_state_dict(_complete_tensors(motion, sites, modules, dtype), assign=True)
    patcher = ModelPatcher if disable_dynamic else CoreModelPatcher
    return patcher(model, load_device=device, offload_device=comfy.model_management.unet_offload_device())


def _main_dtype(motion: Tensors) -> torch.dtype:
    return comfy.utils.weight_dtype(motion) or torch.float32


def _module(site: Site, dtype: torch.dtype) -> nn.Module:
    return site.architecture.module(site.config, ops=comfy.ops.manual_cast, device="meta", dtype=dtype)


def _complete_tensors(motion: Tensors, sites: Mapping[str, Site], modules: Mapping[str, nn.Module], dtype) -> Tensors:
    grouped: dict[str, Tensors] = {path: {} for path in modules}
    for key, tensor in motion.items():
        site, architecture, parameter = _split(key)
        grouped[f"{site}.{architecture}"][parameter] = tensor
    complete: Tensors = {}
    for (path, module), site in zip(modules.items(), sites.values(), strict=True):
        exact = {name for name, _ in module.named_buffers()}
        for key, tensor in site.architecture.complete(grouped[path], site.config).items():
            complete[f"{path}.{key}"] = tensor if key in exact else _stored(tensor, dtype)
    return complete


def _stored(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Vectors (norms, biases) stay out of fp8, where they would lose too much."""
    if tensor.ndim < 2 and dtype.itemsize == 1:
        return tensor if tensor.dtype.itemsize > 1 else tensor.to(torch.float16)
    return tensor.to(dtype)
