"""Save a motion model to a file."""

import folder_paths
from comfy_api.latest import io, ui

from ..motion_modules.files.output_path import new_output_path
from ..motion_modules.files.saving import LORA_CHOICES, MERGED, save_motion_model
from .inputs import CATEGORY, MotionModelSocket


class SaveMotionModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomSaveMotionModel",
            display_name="Save Motion Model",
            category=CATEGORY,
            description="Saves a motion model as a safetensors file in ComfyUI's output folder. Move the file to "
            "models/animatediff_models to load it with Load Motion Model.",
            search_aliases=["export motion model", "write motion module"],
            is_output_node=True,
            inputs=[
                MotionModelSocket.Input("motion_model", tooltip="Motion model to save."),
                io.String.Input(
                    "filename_prefix",
                    default="animatediff_models/loom",
                    tooltip="Subfolder of the output folder and start of the file name. A number is added, so that no "
                    "file is overwritten. %year%, %month% and %day% stand for today's date.",
                ),
                io.Combo.Input(
                    "loras",
                    options=list(LORA_CHOICES),
                    default=MERGED,
                    optional=True,
                    advanced=True,
                    tooltip="merged saves the weights as motion LoRAs change them. without saves the weights of the "
                    "motion model alone.",
                ),
            ],
            outputs=[io.String.Output(display_name="file")],
        )

    @classmethod
    def execute(cls, motion_model, filename_prefix: str, loras: str = MERGED) -> io.NodeOutput:
        path = new_output_path(filename_prefix, ".safetensors")
        save_motion_model(motion_model, path, loras)
        file = path.relative_to(folder_paths.get_output_directory()).as_posix()
        size = path.stat().st_size / 2**20
        text = f"Saved {file} ({size:.1f} MiB) in the output folder. Move it to models/animatediff_models to load it."
        return io.NodeOutput(file, ui=ui.PreviewText(text))
