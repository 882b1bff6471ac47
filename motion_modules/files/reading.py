"""Files as the host reads them, without ever running code in them."""

import pickle
from collections.abc import Mapping
from typing import Any

import comfy.utils
import torch

from ..contract import Tensors
from ..errors import FileFault, describe_cause
from .containers import LARGEST_COUNT, check_container
from .doubles import is_ema
from .formats import refuse_other_formats
from .pickle_survey import Entries, make_limit_fault, make_unsafe_fault

LARGEST_DEPTH = 16  # of dictionaries around the tensors


def read_checkpoint(path: str) -> tuple[Mapping[str, Any], Mapping[str, str] | None]:
    """Return what the file at `path` holds, and the metadata of a safetensors file.

    Time and memory stay in proportion to the size of the file, whatever it holds: what would take
    more is refused before the host reads it.
    """
    try:
        refuse_other_formats(path)
        parts = check_container(path)
        content, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
        if "state_dict" in parts and any(is_ema(key) for key, part in parts.items() if isinstance(part, Entries)):
            content = torch.load(path, map_location="cpu", weights_only=True)  # of which the host returns one part
        if not isinstance(content, Mapping):
            raise TypeError(f"it holds a {type(content).__name__}")
        return content, metadata
    except (MemoryError, FileFault):
        raise
    except OSError as error:
        raise FileFault(
            f"could not be opened ({error.strerror or error}). Check that the file exists and that it can be read."
        ) from error
    except Exception as error:  # a damaged file makes the readers raise anything, AssertionError and struct.error too
        raise make_unsafe_fault() if _is_code(error) else _make_unreadable_fault(error) from error


def flatten_tensors(checkpoint: Mapping[str, Any]) -> Tensors:
    """Return the tensors of a file by dotted key, out of the dictionaries that trainers put around them.

    A dictionary that is met twice is read once. Raises FileFault for more than `LARGEST_DEPTH`
    dictionaries in each other, for two tensors of one dotted key, and where there are no tensors.
    """
    tensors: Tensors = {}
    _flatten(checkpoint, "", tensors, {id(checkpoint)})
    if not tensors:
        content = f"it has no tensors, but '{next(iter(checkpoint))}'" if checkpoint else "it is empty"
        raise FileFault(f"holds no weights ({content}). Choose another file.")
    return tensors


def _flatten(checkpoint: Mapping[str, Any], prefix: str, tensors: Tensors, visited: set[int], depth: int = 1) -> None:
    for key, value in checkpoint.items():
        if isinstance(value, torch.Tensor):
            _add_tensor(f"{prefix}{key}", value, tensors)
        elif isinstance(value, Mapping) and id(value) not in visited:
            visited.add(id(value))
            if depth == LARGEST_DEPTH:
                raise make_limit_fault(f"it holds more than {LARGEST_DEPTH} dictionaries in each other")
            _flatten(value, f"{prefix}{key}.", tensors, visited, depth + 1)


def _add_tensor(key: str, tensor: torch.Tensor, tensors: Tensors) -> None:
    if key in tensors:
        raise FileFault(f"has two tensors named '{key}'. Keep one of them in the file.")
    if len(tensors) == LARGEST_COUNT:
        raise make_limit_fault(f"it has more than {LARGEST_COUNT} tensors")
    tensors[key] = tensor


def _is_code(error: Exception) -> bool:
    """Return whether the safe unpickler stopped at a name or a call; its other complaints are about damage."""
    return isinstance(error, pickle.UnpicklingError) and ("GLOBAL" in str(error) or "call reduce" in str(error))


def _make_unreadable_fault(error: Exception) -> FileFault:
    return FileFault(
        f"could not be read ({describe_cause(error)}): it is damaged, incomplete or not a model file. "
        "Download it again."
    )
