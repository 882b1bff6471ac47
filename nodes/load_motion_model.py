"""Load a motion model from a file."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..motion_modules.errors import LoomError
from ..motion_modules.families import AUTO, FAMILIES
from ..motion_modules.files.loading import load_motion_model
from .inputs import CATEGORY, MotionModelSocket

FOLDER = "animatediff_models"
NO_FILE = "(no file in models/animatediff_models)"
SUGGESTION = "such as mm_sd15_v3.safetensors (SD1.5) or mm_sdxl_v10_beta.ckpt (SDXL)"


class LoadMotionModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomLoadMotionModel",
            display_name="Load Motion Model (AnimateDiff)",
            category=CATEGORY,
            description="Loads an AnimateDiff or Hotshot-XL motion model: layers trained on video that make the frames "
            "of a batch move as one clip.",
            search_aliases=[
                "AnimateDiff",
                "ADE",
                "AnimateDiff Evolved",
                "AnimateDiff loader",
                "Load AnimateDiff Model",
                "motion module",
                "mm_sd",
                "Hotshot-XL",
                "AnimateDiff Lightning",
                "AnimateLCM",
                "LongAnimateDiff",
                "动画",
                "文生视频",
                "运动模型",
                "运动模块",
            ],
            inputs=[
                io.Combo.Input(
                    "motion_model",
                    options=folder_paths.get_filename_list(FOLDER) or [NO_FILE],
                    tooltip="File in models/animatediff_models (.safetensors, .ckpt, .pt or .pth).",
                ),
                io.Combo.Input(
                    "family",
                    options=list(dict.fromkeys([AUTO, *(family.name for family in FAMILIES)])),
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="Family of the motion model. auto recognises it from the contents of the file. Lightning "
                    "files have the structure of AnimateDiff v2; selecting Lightning only adds its sampler advice.",
                ),
            ],
            outputs=[MotionModelSocket.Output(display_name="motion_model")],
        )

    @classmethod
    def validate_inputs(cls, motion_model: str | None = None) -> bool | str:
        """Return the sentence for a file that is not there, where ComfyUI has only "Value not in list"."""
        if motion_model is None or motion_model in folder_paths.get_filename_list(FOLDER):
            return True
        return _describe_missing(motion_model)

    @classmethod
    def fingerprint_inputs(cls, motion_model: str, family: str = AUTO) -> str:
        """Return the time and size of the file, so that a replaced file is loaded again."""
        file = Path(_find_file(motion_model)).stat()
        return f"{file.st_mtime_ns} {file.st_size}"

    @classmethod
    def execute(cls, motion_model: str, family: str = AUTO) -> io.NodeOutput:
        return io.NodeOutput(load_motion_model(_find_file(motion_model), family))


def _find_file(motion_model: str) -> str:
    """Return the path of a file in the folders of motion models; raise LoomError when there is none."""
    path = folder_paths.get_full_path(FOLDER, motion_model)
    if path is None:
        raise LoomError(_describe_missing(motion_model))
    return path


def _describe_missing(motion_model: str) -> str:
    """Return which file is missing from which folder, and what to do."""
    folder = folder_paths.get_folder_paths(FOLDER)[0]
    if not folder_paths.get_filename_list(FOLDER):
        return (
            f"`motion_model` is empty, since there is no motion model in '{folder}'. "
            f"Download one, {SUGGESTION}, put it there, and press R."
        )
    return (
        f"`motion_model` is '{motion_model}', which is not in '{folder}'. "
        "Choose another one from the list, or put that file there and press R."
    )
