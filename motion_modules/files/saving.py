"""Motion model files that this pack writes: tensors named `<site>.<architecture>.<parameter>`, and a header."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file

from ..contract import Tensors
from ..errors import MotionModelError, describe_cause
from ..families import Family
from ..motion_model import ModuleSpec, MotionModel
from .assembling import read_unpatched_weights
from .header import build_header


def save_motion_model(motion_model: MotionModel, path: Path) -> None:
    """Write `motion_model` as safetensors, in the precision in which it is loaded; loading it gives the same clip.

    Raises MotionModelError when the file cannot be written, and when a LoRA is on the motion model:
    the file would not have it.
    """
    if motion_model.patcher.patches:
        raise MotionModelError(
            f"Motion model '{motion_model.name}' has a LoRA on it, which would not be saved. "
            "Save the motion model before the LoRA is applied."
        )
    weights = read_unpatched_weights(motion_model.patcher.model, motion_model.patcher.backup)
    save_motion_tensors(weights, motion_model.family, motion_model.specs, path)


def save_motion_tensors(tensors: Tensors, family: Family, specs: Mapping[str, ModuleSpec], path: Path) -> None:
    """Write `tensors`, named `<site>.<architecture>.<parameter>`, with the header of this pack."""
    plain_tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain_tensors, path, metadata=build_header(family, specs))
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            path.unlink()
        raise MotionModelError(
            f"The file '{path.name}' could not be written ({describe_cause(error)}). Check that the disk has room for "
            "it and that its folder is writable."
        ) from error
