"""Motion model files that this pack writes: tensors named `<site>.<architecture>.<parameter>`, and a header."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import comfy.float
import comfy.lora
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from safetensors import SafetensorError
from safetensors.torch import save_file

from ..contract import Tensors
from ..errors import MotionModelError, describe_cause
from ..families import Family
from ..motion_model import ModuleSpec, MotionModel
from .assembling import read_unpatched_weights
from .header import build_header

MERGED, WITHOUT = "merged", "without"
LORA_CHOICES = (MERGED, WITHOUT)


def save_motion_model(motion_model: MotionModel, path: Path, loras: str = MERGED) -> None:
    """Write `motion_model` as safetensors, in the precision in which it is loaded; loading it gives the same clip.

    With `loras` "merged", weights are saved as motion LoRAs change them; with "without", as they
    are without. Raises MotionModelError when the file cannot be written.
    """
    if loras == MERGED:
        _refuse_varying_loras(motion_model)
    weights = read_unpatched_weights(motion_model.patcher.model, motion_model.patcher.backup)
    if loras == MERGED:
        weights |= _merge_patches(motion_model.patcher, weights)
    save_motion_tensors(weights, motion_model.family, motion_model.specs, path)


def _refuse_varying_loras(motion_model: MotionModel) -> None:
    for lora in motion_model.varying_loras:
        raise MotionModelError(
            f"The strength of motion LoRA '{lora.name}' varies, which weights in a file cannot. Set `loras` to "
            f"'{WITHOUT}', or disconnect `motion_strength` of Motion LoRA."
        )


def _merge_patches(patcher: ModelPatcher, weights: Tensors) -> Tensors:
    """Return the weights that `patcher` patches, as the host changes them when it loads the model."""
    merged: Tensors = {}
    for name, patches in patcher.patches.items():
        weight = weights[name]
        changed = comfy.lora.calculate_weight(patches, weight.to("cpu", torch.float32, copy=True), name)
        merged[name] = comfy.float.stochastic_rounding(changed, weight.dtype, comfy.utils.string_to_seed(name))
    return merged


def save_motion_tensors(tensors: Tensors, family: Family, specs: Mapping[str, ModuleSpec], path: Path) -> None:
    """Write `tensors`, named `<site>.<architecture>.<parameter>`, with the header of this pack."""
    write_tensors(tensors, build_header(family, specs), path)


def write_tensors(tensors: Tensors, metadata: Mapping[str, str], path: Path) -> None:
    """Write a safetensors file; raise MotionModelError where it cannot be written, and leave no part of it then."""
    plain_tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain_tensors, path, metadata=dict(metadata))
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            path.unlink()
        raise MotionModelError(
            f"The file '{path.name}' could not be written ({describe_cause(error)}). Check that the disk has room for "
            "it and that its folder is writable."
        ) from error
