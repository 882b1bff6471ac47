"""Training of a motion LoRA or of a whole motion model on clips, in the host's MODEL."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.utils import ProgressBar
from tqdm import tqdm

from ..motion_modules.contract import Tensors
from ..motion_modules.errors import LoomError
from ..motion_modules.motion_model import MotionModel, MotionModules
from ..motion_modules.unet.site_patterns import ALL, sites_like
from .animated_model import NoisePredictor, loaded_for_training, prepare_model
from .clips import TrainingClips, find_faults, require_sound
from .loop import PRECISIONS, Trainer, TrainingPlan
from .low_rank import ATTENTION, MotionLoraLayers, choose_weights
from .objectives import Objective, draw, smooth
from .saved_state import SavedState

AUTO = "auto"
RECENT = 200  # steps whose running mean the progress bar shows
EMPTY = "empty"  # name of the CONDITIONING of an empty prompt


@dataclass(frozen=True)
class LoraSettings:
    """Size of a motion LoRA, the sites (site_patterns.py) and the kinds of layers that it changes."""

    rank: int = 32
    sites: str = ALL
    targets: str = ATTENTION


DEFAULT_LORA = LoraSettings()


@dataclass(frozen=True)
class TrainingTask:
    """The data and the settings of a training run; `checkpointing` saves memory and changes no result."""

    clips: TrainingClips
    plan: TrainingPlan = field(default_factory=TrainingPlan)
    objective: Objective = field(default_factory=Objective)
    checkpointing: bool = False
    saved_state: SavedState | None = None


@dataclass(frozen=True)
class TrainingResult:
    """The trained `tensors` by the keys of a file, and the record of the run."""

    tensors: Tensors
    losses: list[float]
    seconds: float
    resumed_from: int

    def describe(self) -> str:
        """Return the record as text."""
        count = len(self.losses)
        means = smooth(self.losses)
        resumed = f", continued from step {self.resumed_from}" if self.resumed_from else ""
        speed = self.seconds / max(1, count - self.resumed_from)
        return (
            f"steps: {count}{resumed}\ntime: {self.seconds:.0f} s, {speed:.2f} s a step\n"
            f"loss: {means[min(9, count - 1)]:.4f} at the start, {means[-1]:.4f} at the end (running means)"
        )


def train_motion_lora(
    model: ModelPatcher, motion_model: MotionModel, task: TrainingTask, lora: LoraSettings = DEFAULT_LORA
) -> TrainingResult:
    """Train a motion LoRA for `motion_model` on `model`; neither is changed.

    Raises LoomError for bad clips and settings before training, and for a loss that is NaN or a
    memory that is too small; the saved state then holds the steps before. It is left for the caller to remove once the
    result is saved.
    """
    sites = sites_like(lora.sites, motion_model.specs, f"motion model '{motion_model.name}'")

    def build(trained: ModelPatcher) -> MotionLoraLayers:
        layers = MotionLoraLayers(choose_weights(trained, sites, lora.targets), lora.rank, task.plan.seed)
        layers.put_on(trained)
        return layers

    return _train(model, motion_model, task, build, MotionLoraLayers.file_tensors)


def train_motion_model(model: ModelPatcher, motion_model: MotionModel, task: TrainingTask) -> TrainingResult:
    """Train all weights of `motion_model` on `model`; neither is changed. The tensors are float32.

    Its adapters keep their weights. Raises LoomError as train_motion_lora does, and for a motion
    model with motion LoRAs.
    """
    if motion_model.loras:
        raise LoomError(
            f"Motion model '{motion_model.name}' has the motion LoRA '{motion_model.loras[0].name}'. Merge it with "
            "Save Motion Model and load that file, or remove it."
        )

    def build(trained: ModelPatcher) -> MotionModules:
        modules = trained.model.float().requires_grad_(True)
        for adapter in modules.by_adapter.values():
            adapter.requires_grad_(False)
        return modules

    return _train(model, motion_model, task, build, _copy_weights)


def _copy_weights(modules: MotionModules) -> Tensors:
    return {name: tensor.detach().cpu().clone() for name, tensor in modules.state_dict().items()}


def _train(
    model: ModelPatcher,
    motion_model: MotionModel,
    task: TrainingTask,
    build: Callable[[ModelPatcher], Any],
    read: Callable[[Any], Tensors],
) -> TrainingResult:
    """Train what `build` puts on the patcher of the motion modules, and return what `read` reads from it."""
    _refuse_varying_loras(motion_model)
    channels = model.model.latent_format.latent_channels
    require_sound(find_faults(task.clips.clips, motion_model.positions, channels), len(task.clips))
    started = time.monotonic()
    with torch.inference_mode(False), torch.enable_grad():
        plan = replace(task.plan, precision=choose_precision(task.plan.precision, model.load_device))
        clone, trained = prepare_model(model, motion_model, PRECISIONS[plan.precision], task.checkpointing)
        module = build(trained)
        largest = max(task.clips.clips, key=lambda clip: clip.latents.numel())
        with loaded_for_training(clone, _name_conditionings(task.clips), largest.latents) as predictor:
            trainer = Trainer(module, plan, ClipErrors(predictor, task.clips, task.objective), predictor.device)
            first = _run(trainer, task.saved_state)
        return TrainingResult(read(trainer.result), trainer.losses, time.monotonic() - started, first)


def _refuse_varying_loras(motion_model: MotionModel) -> None:
    for lora in motion_model.varying_loras:
        raise LoomError(
            f"The strength of motion LoRA '{lora.name}' varies, with which motion model '{motion_model.name}' cannot "
            "be trained. Disconnect `motion_strength` of Motion LoRA."
        )


class ClipErrors:
    """The loss of one clip that a generator draws."""

    def __init__(self, predictor: NoisePredictor, clips: TrainingClips, objective: Objective):
        self.predictor, self.objective = predictor, objective
        self.latents = [predictor.prepare_latents(clip.latents) for clip in clips.clips]
        self.shapes = clips.shapes

    def __call__(self, generator: torch.Generator) -> torch.Tensor:
        drawn = draw(self.shapes, len(self.predictor.sigmas), self.objective, generator)
        sigma = float(self.predictor.sigmas[drawn.timestep])
        cond = str(drawn.clip) if drawn.captioned else EMPTY
        predicted = self.predictor.predict(self.latents[drawn.clip], drawn.noise, sigma, cond)
        return self.objective.error(predicted, drawn, sigma)


def choose_precision(choice: str, device: torch.device) -> str:
    """Return the name in PRECISIONS for `choice`: bf16 or fp16 on a GPU that the host uses them on, else float32."""
    if choice != AUTO:
        return choice
    if comfy.model_management.should_use_bf16(device):
        return "bf16"
    return "fp16" if comfy.model_management.should_use_fp16(device) else "float32"


def _name_conditionings(clips: TrainingClips) -> dict[str, list]:
    return {EMPTY: clips.empty, **{str(number): clip.conditioning for number, clip in enumerate(clips.clips)}}


def _run(trainer: Trainer, saved: SavedState | None) -> int:
    """Train to the end, with a progress bar, and return the step from which a saved state was continued."""
    if saved and saved.resume(trainer):
        logging.info(f"Training continues from step {len(trainer.losses)}.")
    first = len(trainer.losses)
    try:
        for _ in _follow(trainer, first):
            if saved:
                saved.save_when_due(trainer)
    except BaseException as error:
        if saved and len(trainer.losses) > first:
            saved.save(trainer)
        if isinstance(error, comfy.model_management.OOM_EXCEPTION):
            raise _describe_lack_of_memory(trainer, saved) from error
        raise
    return first


def _follow(trainer: Trainer, first: int) -> Iterator[float]:
    """Yield the steps of `trainer`; show them on the node, and with the loss and the time that is left in the log."""
    on_node = ProgressBar(trainer.plan.steps)
    with tqdm(total=trainer.plan.steps, initial=first, desc="Training motion") as bar:
        for loss in trainer.steps():
            on_node.update_absolute(len(trainer.losses))
            bar.set_postfix(loss=f"{smooth(trainer.losses[-RECENT:])[-1]:.4f}", refresh=False)
            bar.update()
            yield loss


def _describe_lack_of_memory(trainer: Trainer, saved: SavedState | None) -> LoomError:
    done = len(trainer.losses)
    kept = f", which continues after step {done}" if saved and done else ""
    return LoomError(
        f"Memory was not enough for step {done + 1}. Turn on `gradient_checkpointing`{kept}, or lower `clip_length`, "
        "or `width` and `height`, of Training Clips."
    )
