"""Signature of a training run: it names the saved state, so that only the same run continues from it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher

from ..motion_modules.files.assembling import read_unpatched_weights
from ..motion_modules.motion_model import MotionModel
from .train import TrainingTask

SAMPLED = 64  # values of each weight and each tensor of a LoRA that tell it from another


def sign_run(model: ModelPatcher, motion_model: MotionModel, task: TrainingTask, *settings: object) -> str:
    """Return the start of a hash of the clips, the `settings` and the models, with the LoRAs on them.

    Of models, SAMPLED values of each tensor are read, from before any patch.
    """
    summed = hashlib.sha256()
    for part in _serialise(
        [task.plan, task.objective, task.clips, motion_model.name, motion_model.conditions, settings]
    ):
        summed.update(part)
    for patcher in (motion_model.patcher, model, *model.get_additional_models()):
        weights = read_unpatched_weights(patcher.model, patcher.backup)
        for part in _serialise([weights, patcher.patches], SAMPLED):
            summed.update(part)
    return summed.hexdigest()[:16]


def _serialise(value: Any, sampled: int | None = None) -> Iterator[bytes]:
    """Yield what tells `value` from others; of other classes, the name only."""
    if isinstance(value, torch.Tensor):
        yield f"{tuple(value.shape)} {value.dtype}".encode()
        yield _read_values(value, sampled)
    elif isinstance(value, Mapping):
        yield from _serialise([list(pair) for pair in value.items()], sampled)
    elif isinstance(value, (list, tuple)):
        yield f"{len(value)} items".encode()
        for item in value:
            yield from _serialise(item, sampled)
    elif is_dataclass(value):
        yield from _serialise(vars(value), sampled)
    elif hasattr(value, "weights"):  # an adapter of the host
        yield from _serialise([value.name, value.weights], sampled)
    else:
        plain = isinstance(value, (str, int, float, bool, type(None)))
        yield (repr(value) if plain else type(value).__qualname__).encode()


def _read_values(tensor: torch.Tensor, sampled: int | None) -> bytes:
    """Return the values of `tensor`, or `sampled` of them that are spread over it."""
    values = tensor.detach().flatten()
    if sampled and len(values) > sampled:
        values = values[:: len(values) // sampled][:sampled]
    return values.cpu().float().numpy().tobytes()
