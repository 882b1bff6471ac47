"""The state of a training run in a file, from which it continues bit for bit."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..motion_modules.contract import Tensors
from ..motion_modules.errors import name_file_in_errors
from ..motion_modules.files.reading import read_checkpoint
from ..motion_modules.files.saving import write_tensors
from .loop import Trainer

ENTRY = "loom_training_state"
TENSOR, PAIRS, ITEMS = "tensor", "pairs", "items"


@dataclass(frozen=True)
class SavedState:
    """Where the state of a run is kept, and after how many steps it is saved; 0 saves when the run ends early only."""

    path: Path
    every: int = 100

    def resume(self, trainer: Trainer) -> bool:
        """Return whether there is a saved state, with which `trainer` then continues."""
        if not self.path.exists():
            return False
        with name_file_in_errors("Training state", self.path.name):
            tensors, metadata = read_checkpoint(str(self.path))
        trainer.restore(_join(json.loads((metadata or {})[ENTRY]), tensors))
        return True

    def save_when_due(self, trainer: Trainer) -> None:
        if self.every and len(trainer.losses) % self.every == 0:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write the state; a run that is killed meanwhile leaves the last one."""
        tensors: Tensors = {}
        tree = _split(trainer.state(), "", tensors)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        write_tensors(tensors, {ENTRY: json.dumps(tree)}, unfinished)
        unfinished.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _split(value: Any, name: str, tensors: Tensors) -> Any:
    """Return `value` as data for JSON, with its tensors moved to `tensors`, under names that start with `name`."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value
        return {TENSOR: name}
    if isinstance(value, dict):
        return {PAIRS: [[key, _split(item, f"{name}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return {ITEMS: [_split(item, f"{name}/{number}", tensors) for number, item in enumerate(value)]}
    return value


def _join(value: Any, tensors: Any) -> Any:
    """Return what `_split` was given; the tensors are copies, so that the file can be replaced."""
    if not isinstance(value, dict):
        return value
    if TENSOR in value:
        return tensors[value[TENSOR]].clone()
    if PAIRS in value:
        return {key: _join(item, tensors) for key, item in value[PAIRS]}
    return [_join(item, tensors) for item in value[ITEMS]]
