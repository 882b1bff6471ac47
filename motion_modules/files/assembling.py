"""From tensors to motion modules in the host's patcher, in the precision that it asks for.

Weights are tensors by site and parameter: `weights["mid_block.motion_modules.0"]["proj_in.weight"]`.
Those of adapters are there by their path, such as "adapters.pia".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import comfy.model_management
import comfy.ops
import comfy.utils
import torch
from comfy.model_patcher import CoreModelPatcher, ModelPatcher
from torch import nn

from ..adapters.adapter import Adapter, AdapterSpec
from ..architectures.architecture import Architecture
from ..contract import Tensors
from ..motion_model import ModuleSpec, MotionModules

Weights = Mapping[str, Tensors]


def build_patcher(
    weights: Weights,
    specs: Mapping[str, ModuleSpec],
    disable_dynamic: bool = False,
    dtype: torch.dtype | None = None,
    adapters: Sequence[AdapterSpec] = (),
) -> ModelPatcher:
    """Build the modules of `specs` and the `adapters` with these `weights`, which have been checked to fit.

    The host chooses the precision, unless `dtype` is set. It may ask for the same again, for
    another device.
    """
    device = comfy.model_management.get_torch_device()
    dtype = dtype or comfy.model_management.unet_dtype(
        device, comfy.utils.calculate_parameters(_join_sites(weights)), weight_dtype=find_main_dtype(weights)
    )
    model = build_modules(weights, specs, dtype, adapters)
    patcher_class = ModelPatcher if disable_dynamic else CoreModelPatcher
    patcher = patcher_class(model, load_device=device, offload_device=comfy.model_management.unet_offload_device())
    patcher.cached_patcher_init = (_copy_patcher, (model, patcher.backup, specs, dtype, tuple(adapters)))
    return patcher


def build_modules(
    weights: Weights, specs: Mapping[str, ModuleSpec], dtype: torch.dtype, adapters: Sequence[AdapterSpec] = ()
) -> MotionModules:
    """Build the modules of `specs` and the `adapters` with these `weights`, in `dtype`."""
    modules = {site: _build_module(spec.architecture, spec.config, dtype) for site, spec in specs.items()}
    by_adapter = {each.adapter.key: _build_module(each.adapter, each.config, dtype) for each in adapters}
    by_path = {f"{site}.{specs[site].architecture.key}": module for site, module in modules.items()}
    model = MotionModules(by_path, by_adapter)
    model.requires_grad_(False).train(False)
    for site, module in modules.items():
        module.load_state_dict(_complete_tensors(weights.get(site, {}), specs[site], module, dtype), assign=True)
    for each in adapters:
        module = by_adapter[each.adapter.key]
        tensors = each.adapter.complete(weights[each.adapter.path], each.config)
        module.load_state_dict(_cast_weights(tensors, module, dtype), assign=True)
    return model


def find_main_dtype(weights: Weights) -> torch.dtype:
    """Return the dtype of the largest part of `weights`."""
    return comfy.utils.weight_dtype(_join_sites(weights)) or torch.float32


def read_unpatched_weights(model: MotionModules, backup: Mapping[str, Any]) -> Tensors:
    """Return the weights from before any patch, named `<site>.<architecture>.<parameter>`.

    The host patches weights in place, and keeps the original ones in the `backup` of its patcher.
    """
    return {**model.state_dict(), **{name: original.weight for name, original in backup.items()}}


def copy_weights(
    model: MotionModules,
    backup: Mapping[str, Any],
    specs: Mapping[str, ModuleSpec],
    adapters: Sequence[AdapterSpec] = (),
) -> dict[str, Tensors]:
    """Return copies of the unpatched weights on the CPU; the host may move or patch the original ones in place."""
    tensors = read_unpatched_weights(model, backup)
    paths = {site: f"{site}.{spec.architecture.key}" for site, spec in specs.items()}
    paths |= {each.adapter.path: each.adapter.path for each in adapters}
    return {
        place: {name: tensors[f"{path}.{name}"].to("cpu", copy=True) for name in model.get_submodule(path).state_dict()}
        for place, path in paths.items()
    }


@torch.inference_mode(False)
def _copy_patcher(
    model: MotionModules,
    backup: Mapping[str, Any],
    specs: Mapping[str, ModuleSpec],
    dtype: torch.dtype,
    adapters: Sequence[AdapterSpec] = (),
    disable_dynamic: bool = False,
) -> ModelPatcher:
    return build_patcher(copy_weights(model, backup, specs, adapters), specs, disable_dynamic, dtype, adapters)


def _build_module(kind: Architecture | Adapter, config: Any, dtype: torch.dtype) -> nn.Module:
    return kind.module(config, ops=comfy.ops.manual_cast, device="meta", dtype=dtype)


def _complete_tensors(tensors: Tensors, spec: ModuleSpec, module: nn.Module, dtype: torch.dtype) -> Tensors:
    """Return all tensors of `module`: weights in `dtype`, and buffers, which files may leave out, as they are."""
    return _cast_weights(spec.architecture.complete(tensors, spec.config), module, dtype)


def _cast_weights(tensors: Tensors, module: nn.Module, dtype: torch.dtype) -> Tensors:
    buffers = {name for name, _ in module.named_buffers()}
    return {name: tensor if name in buffers else cast_weight(tensor, dtype) for name, tensor in tensors.items()}


def cast_weight(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Cast to `dtype`, but keep vectors (norms, biases) out of fp8, where they would lose too much precision.

    Weights of other packs that are no floats stay as they are.
    """
    if not tensor.is_floating_point():
        return tensor
    if tensor.ndim < 2 and dtype.itemsize == 1:
        return tensor if tensor.dtype.itemsize > 1 else tensor.to(torch.float16)
    return tensor.to(dtype)


def _join_sites(weights: Weights) -> Tensors:
    return {f"{site}.{name}": tensor for site, tensors in weights.items() for name, tensor in tensors.items()}
