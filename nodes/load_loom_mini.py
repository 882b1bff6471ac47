"""Load Loom Mini, the small model of the pack, with its motion model."""

from pathlib import Path

from comfy_api.latest import io

from ..demo.loom_mini.architecture import load_networks
from ..motion_modules.errors import name_file_in_errors
from ..motion_modules.files.loading import load_motion_model
from ..motion_modules.files.reading import read_checkpoint
from .inputs import CATEGORY, MotionModelSocket

FOLDER = Path(__file__).resolve().parent.parent / "demo" / "loom_mini"
CHECKPOINT, MOTION_MODEL = FOLDER / "loom_mini.safetensors", FOLDER / "loom_mini_motion.safetensors"


class LoadLoomMini(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomMiniLoader",
            display_name="Load Loom Mini",
            category=CATEGORY,
            description="Loads Loom Mini and its motion model, which are part of this pack. It draws moving coloured "
            "shapes in seconds, also on a CPU. Use it to try a workflow without any download.",
            search_aliases=["Loom Mini", "AnimateDiff demo", "tiny checkpoint", "demo model", "no download"],
            inputs=[],
            outputs=[
                io.Model.Output(display_name="model"),
                io.Clip.Output(display_name="clip"),
                io.Vae.Output(display_name="vae"),
                MotionModelSocket.Output(display_name="motion_model"),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        with name_file_in_errors("Checkpoint", CHECKPOINT.name):
            weights, _ = read_checkpoint(str(CHECKPOINT))
        return io.NodeOutput(*load_networks(weights), load_motion_model(str(MOTION_MODEL)))
