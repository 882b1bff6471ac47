"""Adapters from files of their own, added to a motion model."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..adapters.adapter import AdapterSpec
from ..adapters.fitting import describe_misfit
from ..errors import FileFault, MotionModelError, name_file_in_errors
from ..motion_model import MotionModel
from .adapter_tensors import AdapterTensors, claim_tensors, read_adapters
from .assembling import build_patcher, copy_weights
from .module_specs import read_adapter_spec
from .reading import flatten_tensors, read_checkpoint
from .replacing import read_loaded_dtype, refuse_lora

KIND = "Camera model"


def add_camera_file(motion_model: MotionModel, path: str) -> MotionModel:
    """Return a motion model with the camera control of the file at `path`; weights are copied.

    For the same motion model and file it is the same object, so that another camera path costs no copy. Raises
    MotionModelError for a file of another kind, a camera control that does not fit, and a LoRA on the motion model.
    """
    facts = Path(path).stat()
    cache, key = motion_model.extended, (path, facts.st_mtime_ns, facts.st_size)
    if key not in cache:
        cache.clear()  # of the last file
        cache[key] = _read_camera_file(motion_model, path)
    return cache[key]


def _read_camera_file(motion_model: MotionModel, path: str) -> MotionModel:
    name = Path(path).name
    with name_file_in_errors(KIND, name):
        checkpoint, _ = read_checkpoint(path)
    return add_camera_tensors(motion_model, checkpoint, name)


@torch.inference_mode(False)
def add_camera_tensors(motion_model: MotionModel, checkpoint: Mapping[str, Any], name: str) -> MotionModel:
    """Return a motion model with the camera control in a `checkpoint` that was read from the file called `name`."""
    with name_file_in_errors(KIND, name):
        tensors = _find_camera(flatten_tensors(checkpoint))
        spec = read_adapter_spec(tensors)
    adapter = spec.adapter
    refuse_lora(motion_model, adapter.node)
    _require_fit(motion_model, spec, name)
    kept = tuple(each for each in motion_model.adapters if each.adapter is not adapter)
    weights = copy_weights(motion_model.patcher.model, motion_model.patcher.backup, motion_model.specs, kept)
    weights |= {adapter.path: tensors.tensors}
    adapters = (*kept, spec)
    patcher = build_patcher(weights, motion_model.specs, dtype=read_loaded_dtype(motion_model), adapters=adapters)
    keys = tuple(each.adapter.key for each in adapters)
    family = replace(motion_model.family, signs=(), adapters=keys)
    return replace(
        motion_model, name=f"{motion_model.name} with {name}", patcher=patcher, family=family, adapters=adapters
    )


def _find_camera(tensors: Mapping[str, torch.Tensor]) -> AdapterTensors:
    for each in read_adapters(claim_tensors(tensors), tensors, ()):
        if each.adapter.has_own_files:
            return each
    raise FileFault(
        f"holds no camera control (its first key is '{next(iter(tensors))}'). Choose a file of CameraCtrl, such as "
        "CameraCtrl_pruned.safetensors."
    )


def _require_fit(motion_model: MotionModel, spec: AdapterSpec, name: str) -> None:
    """Raise MotionModelError unless the layers of the adapter are those of `motion_model` on the way down and up."""
    if misfit := describe_misfit(spec, motion_model.specs, motion_model.name):
        raise MotionModelError(
            f"{KIND} '{name}' {misfit}. Use a motion model for SD1.5, such as mm_sd15_v3.safetensors."
        )
    sites = dict(spec.config.sites)
    missing = [site for site in motion_model.specs if site not in sites and not site.startswith("mid_block.")]
    if missing:
        raise MotionModelError(
            f"{KIND} '{name}' has no layer for '{missing[0]}', where motion model '{motion_model.name}' has a motion "
            "module. Get a complete copy of the file, or use a motion model for SD1.5, such as mm_sd15_v3.safetensors."
        )
