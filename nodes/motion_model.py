"""Load a motion model, look at it, and put it on a MODEL."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ..motion_modules.describe import describe
from ..motion_modules.families import AUTO, FAMILIES
from ..motion_modules.files.loading import load_motion_model
from ..motion_modules.unet.placement import MotionSettings
from ..sampling.animate import BETA_SCHEDULE_CHOICES, animate

CATEGORY = "AnimateDiff Loom"
MotionModelSocket = io.Custom("MOTION_MODEL")


def _advanced_float(name: str, default: float, tooltip: str, max: float = 1.0, step: float = 0.001) -> io.Float.Input:
    return io.Float.Input(
        name, default=default, min=0.0, max=max, step=step, optional=True, advanced=True, tooltip=tooltip
    )


class LoadMotionModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomLoadMotionModel",
            display_name="Load Motion Model",
            category=CATEGORY,
            description="Loads an AnimateDiff or Hotshot-XL motion model, the part that makes frames move together.",
            search_aliases=["AnimateDiff loader", "motion module", "mm_sd", "Load AnimateDiff Model"],
            inputs=[
                io.Combo.Input(
                    "motion_model",
                    options=folder_paths.get_filename_list("animatediff_models"),
                    tooltip="A file from models/animatediff_models (.safetensors, .ckpt, .pt or .pth).",
                ),
                io.Combo.Input(
                    "family",
                    options=list(dict.fromkeys([AUTO, *(family.name for family in FAMILIES)])),
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="What kind of motion model the file holds. auto recognises it by its contents. "
                    "Lightning files look exactly like AnimateDiff v2: choosing it only adds its sampler advice.",
                ),
            ],
            outputs=[MotionModelSocket.Output(display_name="motion_model")],
        )

    @classmethod
    def fingerprint_inputs(cls, motion_model: str, family: str = AUTO) -> str:
        """A file that was downloaded again under its old name is another input."""
        file = Path(folder_paths.get_full_path_or_raise("animatediff_models", motion_model)).stat()
        return f"{file.st_mtime_ns} {file.st_size}"

    @classmethod
    def execute(cls, motion_model: str, family: str = AUTO) -> io.NodeOutput:
        path = folder_paths.get_full_path_or_raise("animatediff_models", motion_model)
        return io.NodeOutput(load_motion_model(path, family))


class ApplyMotionModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomApplyMotionModel",
            display_name="Apply Motion Model",
            category=CATEGORY,
            description="Puts a motion model into a Stable Diffusion model: a batch of latents becomes a moving clip.",
            search_aliases=["AnimateDiff", "text to video", "Apply AnimateDiff Model", "Use Evolved Sampling"],
            inputs=[
                io.Model.Input("model", tooltip="The Stable Diffusion model to animate; LoRAs before or after this."),
                MotionModelSocket.Input("motion_model", tooltip="From Load Motion Model; must fit the model's base."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="How much the motion modules change the picture: 1 as trained, 0 none, below 1 calmer.",
                ),
                _advanced_float(
                    "attention_scale",
                    default=1.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Factor on the attention between frames: above 1 more motion, below 1 less. "
                    "LongAnimateDiff asks for 1.15.",
                ),
                _advanced_float(
                    "start_percent",
                    default=0.0,
                    tooltip="Where in the noise schedule the motion begins: 0 is its start, pure noise.",
                ),
                _advanced_float(
                    "end_percent",
                    default=1.0,
                    tooltip="Where in the noise schedule the motion ends: 1 is its end, the finished picture.",
                ),
                io.Combo.Input(
                    "beta_schedule",
                    options=list(BETA_SCHEDULE_CHOICES),
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="The noise schedule to sample with. auto takes the one that the motion model was trained "
                    "with; a wrong one gives grey or washed-out videos. A ModelSampling node behind this one replaces "
                    "it.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(
        cls,
        model,
        motion_model,
        strength: float = 1.0,
        attention_scale: float = 1.0,
        start_percent: float = 0.0,
        end_percent: float = 1.0,
        beta_schedule: str = AUTO,
    ) -> io.NodeOutput:
        settings = MotionSettings(strength, attention_scale, start_percent, end_percent)
        return io.NodeOutput(animate(model, motion_model, settings, beta_schedule))


class MotionModelInfo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomMotionModelInfo",
            display_name="Motion Model Info",
            category=CATEGORY,
            description="Shows what a motion model is: family and why, base model, sites, frames, schedule, size.",
            search_aliases=["inspect motion model", "AnimateDiff version"],
            is_output_node=True,
            inputs=[MotionModelSocket.Input("motion_model", tooltip="From Load Motion Model.")],
            outputs=[io.String.Output(display_name="info")],
        )

    @classmethod
    def execute(cls, motion_model) -> io.NodeOutput:
        text = describe(motion_model)
        return io.NodeOutput(text, ui=ui.PreviewText(text))
