"""From tensors in the original spelling to motion modules in the host's patcher, in the precision that it asks for."""

from collections.abc import Mapping
from typing import Any, TypeVar

import comfy.model_management
import comfy.ops
import comfy.utils
import torch
from comfy.model_patcher import CoreModelPatcher, ModelPatcher
from torch import nn

from ..contract import Tensors
from ..motion_model import ModuleSpec, MotionModules

Value = TypeVar("Value")


def split_key(key: str) -> tuple[str, str, str]:
    """Site, architecture and parameter."""
    site, _, rest = key.partition(".motion_modules.")
    index, architecture, parameter = rest.split(".", 2)
    return f"{site}.motion_modules.{index}", architecture, parameter


def by_path(values: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """Parameters of each module, `<site>.<architecture>`, by their own names."""
    found: dict[str, dict[str, Value]] = {}
    for key, value in values.items():
        site, architecture, parameter = split_key(key)
        found.setdefault(f"{site}.{architecture}", {})[parameter] = value
    return found


def main_dtype(motion: Tensors) -> torch.dtype:
    return comfy.utils.weight_dtype(motion) or torch.float32


def build_patcher(
    motion: Tensors, sites: Mapping[str, ModuleSpec], disable_dynamic: bool = False, dtype: torch.dtype | None = None
) -> ModelPatcher:
    """The modules of all `sites` with the tensors of `motion`, which have been checked to fit them.

    The host chooses the precision of weights, unless `dtype` does. It may ask for the same again, for another device.
    """
    device = comfy.model_management.get_torch_device()
    dtype = dtype or comfy.model_management.unet_dtype(
        device, comfy.utils.calculate_parameters(motion), weight_dtype=main_dtype(motion)
    )
    modules = {f"{name}.{site.architecture.key}": _module(site, dtype) for name, site in sites.items()}
    model = MotionModules(modules).requires_grad_(False).eval()
    model.load_state_dict(_complete_tensors(motion, sites, modules, dtype), assign=True)
    kind = ModelPatcher if disable_dynamic else CoreModelPatcher
    patcher = kind(model, load_device=device, offload_device=comfy.model_management.unet_offload_device())
    patcher.cached_patcher_init = (_copied_patcher, (model, patcher.backup, sites, dtype))
    return patcher


def read_unpatched_weights(model: MotionModules, backup: Mapping[str, Any]) -> Tensors:
    """The weights as they were put in; the host keeps in the `backup` of its patcher what it patches in place."""
    return {**model.state_dict(), **{name: kept.weight for name, kept in backup.items()}}


@torch.inference_mode(False)
def _copied_patcher(
    model: MotionModules,
    backup: Mapping[str, Any],
    sites: Mapping[str, ModuleSpec],
    dtype: torch.dtype,
    disable_dynamic: bool = False,
) -> ModelPatcher:
    copies = {name: tensor.to("cpu", copy=True) for name, tensor in read_unpatched_weights(model, backup).items()}
    return build_patcher(copies, sites, disable_dynamic, dtype)


def _module(site: ModuleSpec, dtype: torch.dtype) -> nn.Module:
    return site.architecture.module(site.config, ops=comfy.ops.manual_cast, device="meta", dtype=dtype)


def _complete_tensors(
    motion: Tensors, sites: Mapping[str, ModuleSpec], modules: Mapping[str, nn.Module], dtype
) -> Tensors:
    own, complete = by_path(motion), Tensors()
    for (path, module), site in zip(modules.items(), sites.values(), strict=True):
        exact = {name for name, _ in module.named_buffers()}
        for key, tensor in site.architecture.complete(own.get(path, {}), site.config).items():
            complete[f"{path}.{key}"] = tensor if key in exact else _stored(tensor, dtype)
    return complete


def _stored(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Vectors (norms, biases) stay out of fp8, where they would lose too much."""
    if tensor.ndim < 2 and dtype.itemsize == 1:
        return tensor if tensor.dtype.itemsize > 1 else tensor.to(torch.float16)
    return tensor.to(dtype)
