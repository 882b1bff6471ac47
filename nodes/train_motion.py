"""Train a motion LoRA, or a whole motion model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io, ui

from ..inspection.figures.loss_curve import draw_losses
from ..motion_modules.files.output_path import new_output_path
from ..motion_modules.unet.site_patterns import ALL
from ..training.loop import PRECISIONS, TrainingPlan
from ..training.low_rank import ATTENTION, FORMATS, ORIGINAL, TARGETS
from ..training.objectives import Objective, smooth
from ..training.results import save_trained_lora, save_trained_model
from ..training.saved_state import SavedState
from ..training.signature import sign_run
from ..training.train import AUTO, LoraSettings, TrainingResult, TrainingTask, train_motion_lora, train_motion_model
from .inputs import CATEGORY, MAX_STEPS, MotionModelSocket, TrainingClipsSocket, sites

NOISE, DEBIASED = "noise", "debiased"
LARGEST_RANK = 256
STATES = "loom_training"  # folder in the output folder


class TrainMotionLora(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomTrainMotionLora",
            display_name="Train Motion LoRA",
            category=CATEGORY,
            description="Trains a motion LoRA from a few clips: a small file that teaches a motion model one motion. "
            "It is saved in the output folder, and the trained motion model can be sampled at once.",
            search_aliases=["MotionDirector", "train AnimateDiff", "fine-tune motion", "motion training"],
            is_output_node=True,
            inputs=[
                *_subjects(),
                *_lengths(steps=300, rate=5e-4),
                io.Int.Input(
                    "rank",
                    default=32,
                    min=1,
                    max=LARGEST_RANK,
                    tooltip="Size of the LoRA. 32 suits a few clips; higher values learn more detail and need more "
                    "memory.",
                ),
                _objective(),
                _seed(),
                _prefix("animatediff_motion_lora/loom"),
                sites("Sites of the motion modules to train, for example down.1, up.*, mid. * trains all of them."),
                io.Combo.Input(
                    "targets",
                    options=list(TARGETS),
                    default=ATTENTION,
                    optional=True,
                    advanced=True,
                    tooltip="Layers that the LoRA changes. Published motion LoRAs change the attention, those of "
                    "MotionDirector also the feed-forward layers.",
                ),
                io.Combo.Input(
                    "file_format",
                    options=list(FORMATS),
                    default=ORIGINAL,
                    optional=True,
                    advanced=True,
                    tooltip="Names in the file. AnimateDiff's are those of the published motion LoRAs, and diffusers' "
                    "load there. This pack reads both.",
                ),
                *_machinery(),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model,
        motion_model,
        clips,
        steps: int,
        learning_rate: float,
        rank: int,
        objective: dict,
        seed: int,
        filename_prefix: str,
        sites: str = ALL,
        targets: str = ATTENTION,
        file_format: str = ORIGINAL,
        **machinery: Any,
    ) -> io.NodeOutput:
        lora = LoraSettings(rank, sites, targets)
        task = _read_task(clips, TrainingPlan(steps, learning_rate, seed=seed), objective, machinery)
        task = _save_states(task, model, motion_model, lora)
        path = new_output_path(filename_prefix, ".safetensors")
        result = train_motion_lora(model, motion_model, task, lora)
        trained = save_trained_lora(result, motion_model, task, lora, path, file_format)
        return _show(cls, trained, result, path, "models/animatediff_motion_lora")


class TrainMotionModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomTrainMotionModel",
            display_name="Train Motion Model",
            category=CATEGORY,
            description="Trains all weights of a motion model, also of a new one from New Motion Model. It needs many "
            "clips and more memory than Train Motion LoRA.",
            search_aliases=[
                "train AnimateDiff",
                "train motion module",
                "fine-tune motion model",
                "custom motion module",
            ],
            is_output_node=True,
            inputs=[
                *_subjects(),
                *_lengths(steps=1000, rate=1e-4),
                _objective(),
                _seed(),
                _prefix("animatediff_models/loom_trained"),
                *_machinery(),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model,
        motion_model,
        clips,
        steps: int,
        learning_rate: float,
        objective: dict,
        seed: int,
        filename_prefix: str,
        **machinery: Any,
    ) -> io.NodeOutput:
        task = _read_task(clips, TrainingPlan(steps, learning_rate, seed=seed), objective, machinery)
        task = _save_states(task, model, motion_model)
        path = new_output_path(filename_prefix, ".safetensors")
        result = train_motion_model(model, motion_model, task)
        trained = save_trained_model(result, motion_model, task, path)
        return _show(cls, trained, result, path, "models/animatediff_models")


def _subjects() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="Model to train on, without Apply Motion Model. It is not changed."),
        MotionModelSocket.Input("motion_model", tooltip="Motion model to start from. It is not changed."),
        TrainingClipsSocket.Input("clips", tooltip="Clips to learn from, from Training Clips."),
    ]


def _lengths(steps: int, rate: float) -> list[io.Input]:
    return [
        io.Int.Input(
            "steps",
            default=steps,
            min=1,
            max=100 * MAX_STEPS,
            tooltip="Number of training steps. Each one shows the model one clip, or clips_per_step of them.",
        ),
        io.Float.Input(
            "learning_rate",
            default=rate,
            min=1e-7,
            max=1.0,
            step=1e-7,
            round=False,
            tooltip="Size of the steps. Lower it where the loss rises or pictures break, raise it where nothing is "
            "learned.",
        ),
    ]


def _objective() -> io.DynamicCombo.Input:
    return io.DynamicCombo.Input(
        "objective",
        options=[
            io.DynamicCombo.Option(NOISE, [_min_snr(), _noise_offset()]),
            io.DynamicCombo.Option(DEBIASED, [_min_snr(), _noise_offset()]),
        ],
        tooltip="Loss to lower. noise is that of AnimateDiff. debiased is MotionDirector's, which learns less of the "
        "look of the clips.",
    )


def _min_snr() -> io.Float.Input:
    return io.Float.Input(
        "min_snr_gamma",
        default=0.0,
        min=0.0,
        max=100.0,
        step=0.1,
        tooltip="Lets steps of low noise count less (min-SNR), usually with 5. 0 weighs all steps equally.",
    )


def _noise_offset() -> io.Float.Input:
    return io.Float.Input(
        "noise_offset",
        default=0.0,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="Noise that all places of a frame share, which teaches darker and brighter pictures. 0 disables it.",
    )


def _seed() -> io.Int.Input:
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=2**64 - 1,
        control_after_generate=False,
        tooltip="Seed of the first weights and of all random numbers of the training.",
    )


def _prefix(default: str) -> io.String.Input:
    return io.String.Input(
        "filename_prefix",
        default=default,
        tooltip="Subfolder of the output folder and start of the file name. A number is added, so that no file is "
        "overwritten.",
    )


def _machinery() -> list[io.Input]:
    return [
        io.Float.Input(
            "text_dropout",
            default=0.1,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            advanced=True,
            tooltip="Share of the steps without caption, so that the motion also works with CFG.",
        ),
        io.Int.Input(
            "clips_per_step",
            default=1,
            min=1,
            max=256,
            optional=True,
            advanced=True,
            tooltip="Clips whose gradients are averaged in each step. They run one after another, which saves memory.",
        ),
        io.Float.Input(
            "average",
            default=0.0,
            min=0.0,
            max=0.9999,
            step=0.0001,
            round=False,
            optional=True,
            advanced=True,
            tooltip="Decay of a moving average of the weights (EMA), which is then the result. 0 disables it.",
        ),
        io.Combo.Input(
            "precision",
            options=[AUTO, *PRECISIONS],
            default=AUTO,
            optional=True,
            advanced=True,
            tooltip="Number format of the calculation. auto takes bf16 or fp16 on a GPU that supports it.",
        ),
        io.Boolean.Input(
            "gradient_checkpointing",
            default=False,
            optional=True,
            advanced=True,
            tooltip="Computes every layer twice instead of keeping its results. Saves memory, takes a third more time, "
            "and changes no result.",
        ),
        io.Int.Input(
            "save_every",
            default=100,
            min=0,
            max=100 * MAX_STEPS,
            optional=True,
            advanced=True,
            tooltip="Steps after which the state of the training is saved in the output folder. The same settings then "
            "continue from there. 0 saves only when training is cancelled.",
        ),
    ]


def _outputs() -> list[io.Output]:
    return [
        MotionModelSocket.Output(display_name="motion_model"),
        io.Image.Output(display_name="loss_curve"),
        io.String.Output(display_name="report"),
    ]


def _read_task(clips, plan: TrainingPlan, objective: dict, machinery: dict[str, Any]) -> TrainingTask:
    """Return the task of the inputs of `_objective` and `_machinery`; its state is saved in the output folder."""
    plan_names = ("clips_per_step", "average", "precision")
    plan = replace(plan, **{name: machinery[name] for name in plan_names if name in machinery})
    losses = Objective(
        objective["objective"] == DEBIASED,
        objective.get("min_snr_gamma", 0.0),
        objective.get("noise_offset", 0.0),
        machinery.get("text_dropout", 0.1),
    )
    folder = Path(folder_paths.get_output_directory()) / STATES
    state = SavedState(folder, machinery.get("save_every", 100))
    return TrainingTask(clips, plan, losses, machinery.get("gradient_checkpointing", False), state)


def _save_states(task: TrainingTask, model, motion_model, *settings: object) -> TrainingTask:
    """Return the task with a file for its state, which the same run finds again."""
    assert task.saved_state
    path = task.saved_state.path / f"{sign_run(model, motion_model, task, *settings)}.safetensors"
    return replace(task, saved_state=replace(task.saved_state, path=path))


def _show(cls, trained, result: TrainingResult, path: Path, folder: str) -> io.NodeOutput:
    file = path.relative_to(folder_paths.get_output_directory()).as_posix()
    text = f"{result.describe()}\nsaved: {file} in the output folder. Move it to {folder} to load it."
    curve = draw_losses(result.losses, smooth(result.losses), f"{len(result.losses)} steps, {file}")
    shown = {**ui.PreviewImage(curve, cls=cls).as_dict(), **ui.PreviewText(text).as_dict()}
    return io.NodeOutput(trained, curve, text, ui=shown)
