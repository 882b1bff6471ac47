"""Results of a training run: the file, with facts about the training, and a motion model to sample with."""

from dataclasses import replace
from pathlib import Path

import torch

from ..motion_modules.contract import Tensors
from ..motion_modules.files.assembling import build_patcher
from ..motion_modules.files.motion_lora import add_motion_lora, parse_motion_lora
from ..motion_modules.files.saving import save_motion_tensors, write_tensors
from ..motion_modules.motion_model import MotionModel
from .low_rank import FORMATS, build_metadata
from .train import LoraSettings, TrainingResult, TrainingTask

UNLICENSED = "not stated"


def save_trained_lora(
    result: TrainingResult, motion_model: MotionModel, task: TrainingTask, lora: LoraSettings, path: Path, format: str
) -> MotionModel:
    """Write the motion LoRA to `path`, and return `motion_model` with it at strength 1."""
    family = motion_model.family
    facts = {
        "model_type": "motion_lora",
        "base": family.base,
        "family": family.name,
        "motion_model": motion_model.name,
        "rank": lora.rank,
        "targets": lora.targets,
        "steps": len(result.losses),
        "clips": len(task.clips),
        "captions": list(dict.fromkeys(clip.caption for clip in task.clips.clips)),
        "objective": vars(task.objective),
        "license": UNLICENSED,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(FORMATS[format](result.tensors), build_metadata(facts), path)
    _remove_saved_state(task)
    return add_motion_lora(motion_model, parse_motion_lora(path.name, result.tensors), 1.0)


@torch.inference_mode(False)
def save_trained_model(
    result: TrainingResult, motion_model: MotionModel, task: TrainingTask, path: Path
) -> MotionModel:
    """Write the trained weights to `path` in float32, and return a motion model with them and the same adapters."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_motion_tensors(result.tensors, motion_model.family, motion_model.specs, path)
    _remove_saved_state(task)
    adapters = motion_model.adapters
    paths = {site: f"{site}.{spec.architecture.key}" for site, spec in motion_model.specs.items()}
    paths |= {each.adapter.path: each.adapter.path for each in adapters}
    weights = {place: _take_below(f"{path}.", result.tensors) for place, path in paths.items()}
    patcher = build_patcher(weights, motion_model.specs, adapters=adapters)
    return replace(motion_model, name=path.name, patcher=patcher, file_dtype=torch.float32)


def _take_below(start: str, tensors: Tensors) -> Tensors:
    """Return the `tensors` whose names begin with `start`, without it."""
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _remove_saved_state(task: TrainingTask) -> None:
    """Remove the state of a run whose result is in a file."""
    if task.saved_state:
        task.saved_state.remove()
