"""Show a text summary of a motion model."""

from comfy_api.latest import io, ui

from ..motion_modules.describe import describe
from .inputs import CATEGORY, MotionModelSocket


class MotionModelInfo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomMotionModelInfo",
            display_name="Motion Model Info",
            category=CATEGORY,
            description="Shows a text summary of a motion model: family, base model, sites, frames, noise schedule and "
            "size.",
            search_aliases=["inspect motion model", "AnimateDiff version"],
            is_output_node=True,
            inputs=[MotionModelSocket.Input("motion_model", tooltip="Motion model to describe.")],
            outputs=[io.String.Output(display_name="info")],
        )

    @classmethod
    def execute(cls, motion_model) -> io.NodeOutput:
        text = describe(motion_model)
        return io.NodeOutput(text, ui=ui.PreviewText(text))
