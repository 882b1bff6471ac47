"""Files as the host reads them, without ever running code in them."""

import pickle
from collections.abc import Mapping
from typing import Any

import comfy.utils
import torch

from ..contract import Tensors
from ..errors import FileFault, describe_cause


def read_checkpoint(path: str) -> tuple[Mapping[str, Any], Mapping[str, str] | None]:
    """Return what the file at `path` holds, and the metadata of a safetensors file."""
    try:
        content, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
        if not isinstance(content, Mapping):
            raise TypeError(f"it holds a {type(content).__name__}")
        return content, metadata
    except MemoryError:
        raise
    except OSError as error:
        raise FileFault(
            f"could not be opened ({error.strerror or error}). Check that the file exists and that it can be read."
        ) from error
    except Exception as error:  # a damaged file makes the readers raise anything, AssertionError and struct.error too
        raise _make_unsafe_fault() if _is_code(error) else _make_unreadable_fault(error) from error


def flatten_tensors(checkpoint: Mapping[str, Any]) -> Tensors:
    """Return the tensors of a file by dotted key, out of the dictionaries that trainers put around them."""
    try:
        return _flatten(checkpoint, "")
    except RecursionError as error:  # a dictionary that holds itself
        raise _make_unreadable_fault(error) from error


def _flatten(checkpoint: Mapping[str, Any], prefix: str) -> Tensors:
    tensors: Tensors = {}
    for key, value in checkpoint.items():
        if isinstance(value, Mapping):
            tensors |= _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, torch.Tensor):
            tensors[f"{prefix}{key}"] = value
    return tensors


def _is_code(error: Exception) -> bool:
    """Return whether the safe unpickler stopped at a name or a call; its other complaints are about damage."""
    return isinstance(error, pickle.UnpicklingError) and ("GLOBAL" in str(error) or "call reduce" in str(error))


def _make_unsafe_fault() -> FileFault:
    return FileFault("contains Python code besides tensors, which is never run. Download a .safetensors version.")


def _make_unreadable_fault(error: Exception) -> FileFault:
    return FileFault(
        f"could not be read ({describe_cause(error)}): it is damaged, incomplete or not a model file. "
        "Download it again."
    )
