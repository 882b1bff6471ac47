"""Load a motion model from a file."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..motion_modules.families import AUTO, FAMILIES
from ..motion_modules.files.loading import load_motion_model
from .inputs import CATEGORY, MotionModelSocket


class LoadMotionModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomLoadMotionModel",
            display_name="Load Motion Model",
            category=CATEGORY,
            description="Loads an AnimateDiff or Hotshot-XL motion model: layers trained on video that make the frames "
            "of a batch move as one clip.",
            search_aliases=["AnimateDiff loader", "motion module", "mm_sd", "Load AnimateDiff Model"],
            inputs=[
                io.Combo.Input(
                    "motion_model",
                    options=folder_paths.get_filename_list("animatediff_models"),
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
    def fingerprint_inputs(cls, motion_model: str, family: str = AUTO) -> str:
        """Return the time and size of the file, so that a replaced file is loaded again."""
        file = Path(folder_paths.get_full_path_or_raise("animatediff_models", motion_model)).stat()
        return f"{file.st_mtime_ns} {file.st_size}"

    @classmethod
    def execute(cls, motion_model: str, family: str = AUTO) -> io.NodeOutput:
        path = folder_paths.get_full_path_or_raise("animatediff_models", motion_model)
        return io.NodeOutput(load_motion_model(path, family))
