"""From a motion model file to a MotionModel.

1. `read_checkpoint` (reading.py) checks that a file is what its name says (formats.py) and that reading it
   takes time and memory in proportion to its size (containers.py, pickle_survey.py). Then the host reads it,
   and runs no code in it.
2. `parse_file` (motion_file.py) parses every key once, and refuses files of another kind (unsupported.py).
3. `_choose_family` finds out how the motion model was trained.
4. `read_specs` and `read_adapter_specs` (module_specs.py) compare all shapes with what the architectures and
   adapters expect.
5. `build_patcher` (assembling.py) puts the tensors into modules in the host's patcher.

Steps 1 to 4 allocate no memory for weights. They raise FileFault, to which `name_file_in_errors`
adds the name of the file.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comfy.model_patcher import ModelPatcher

from ..architectures.registry import architectures, log_refused
from ..architectures.stacking import split_stack_key
from ..errors import FileFault, name_file_in_errors
from ..families import AUTO, CheckpointFacts, Family, recognise_family
from ..motion_model import MotionModel, make_custom_family
from .assembling import build_patcher, find_main_dtype
from .checkpoint_keys import TRANSFORMER
from .header import read_header
from .module_specs import read_adapter_specs, read_specs
from .motion_file import MotionFile, parse_file
from .reading import flatten_tensors, read_checkpoint


def load_motion_model(path: str, family: str = AUTO, disable_dynamic: bool = False) -> MotionModel:
    """Load the motion model in the file at `path`; `family` overrides recognition, for files that look the same.

    What of the file is not used is in the log.
    """
    motion_model = _load(path, family, disable_dynamic)
    for note in motion_model.notes:
        logging.warning(f"Motion model '{motion_model.name}': {note}.")
    return motion_model


def _load(path: str, family: str, disable_dynamic: bool) -> MotionModel:
    name = Path(path).name
    with name_file_in_errors("Motion model", name):
        checkpoint, metadata = read_checkpoint(path)
    return motion_model_from_tensors(checkpoint, name, family, (path, family), disable_dynamic, metadata=metadata)


def load_motion_patcher(path: str, family: str, disable_dynamic: bool = False) -> ModelPatcher:
    """Load a motion model again; the host calls this for further copies of its patcher, one per GPU for example."""
    return _load(path, family, disable_dynamic).patcher


def motion_model_from_tensors(
    checkpoint: Mapping[str, Any],
    name: str,
    family: str = AUTO,
    source: tuple[str, str] | None = None,
    disable_dynamic: bool = False,
    *,
    metadata: Mapping[str, str] | None = None,
) -> MotionModel:
    """Return the motion model in a `checkpoint` that was read from the file called `name`.

    `source` is the path and the choice of `family` for loading it again. `metadata` is that of a
    safetensors file; in files of this pack it tells how the motion model was trained.
    """
    with name_file_in_errors("Motion model", name):
        file = parse_file(name, flatten_tensors(checkpoint), read_header(metadata), log_refused(architectures()))
        chosen_family, reason = _choose_family(file, family)
        specs, adapters = read_specs(file, chosen_family), read_adapter_specs(file, chosen_family)
    patcher = build_patcher(file.weights, specs, disable_dynamic, adapters=adapters)
    if source is not None:
        patcher.cached_patcher_init = (load_motion_patcher, source)
    dtype = find_main_dtype(file.weights)
    return MotionModel(name, patcher, chosen_family, reason, dtype, specs, file.notes, adapters=adapters)


def _choose_family(file: MotionFile, choice: str) -> tuple[Family, str]:
    """Return the family by the user's `choice`, the header, or keys and shapes; and which of these it was."""
    keys = sorted(file.architecture_keys)
    if keys == [TRANSFORMER] and (choice != AUTO or not file.header):
        return recognise_family(_read_facts(file), choice)
    if choice != AUTO:
        raise FileFault(f"cannot be {choice}, since it is made of {' and '.join(keys)}. Set `family` to '{AUTO}'.")
    if file.header:
        return file.header.family, "its header"
    kinds = [file.known[member] for key in keys for member in split_stack_key(key)]
    adapters = tuple(each.adapter.key for each in file.adapters)
    return make_custom_family(kinds, file.modules, adapters=adapters), "the names of its tensors"


def _read_facts(file: MotionFile) -> CheckpointFacts:
    tables = [
        tensor
        for module in file.modules.values()
        for name, tensor in module.tensors.items()
        if name.endswith(".pe") and tensor.ndim == 3
    ]
    return CheckpointFacts(
        spelling=file.spelling,
        levels=len({site.split(".")[1] for site in file.modules if site.startswith("down_blocks.")}),
        mid=any(site.startswith("mid_block.") for site in file.modules),
        positions=min((table.shape[1] for table in tables), default=None),
        adapters=tuple(each.adapter.key for each in file.adapters),
    )
