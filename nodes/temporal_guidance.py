"""Guide a clip away from what it would be without motion."""

from comfy_api.latest import io

from ..sampling.steering.temporal_guidance import TemporalGuidance, add_temporal_guidance
from .inputs import CATEGORY, advanced_float


class TemporalGuidanceNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomTemporalGuidance",
            display_name="Temporal Guidance",
            category=CATEGORY,
            description="Makes the motion model count more, by guiding away from the prediction without it. Each step "
            "takes one more pass of the model.",
            search_aliases=["temporal CFG", "motion guidance", "more motion", "PAG", "STG"],
            inputs=[
                io.Model.Input("model", tooltip="Model with a motion model, before or after this node."),
                io.Float.Input(
                    "scale",
                    default=1.0,
                    min=0.0,
                    max=20.0,
                    step=0.01,
                    tooltip="Strength of the guidance. 0 is the same as without this node, and takes no extra pass.",
                ),
                advanced_float(
                    "start_percent",
                    default=0.0,
                    tooltip="Point in sampling at which the guidance starts (0 = start).",
                ),
                advanced_float(
                    "end_percent",
                    default=1.0,
                    tooltip="Point in sampling at which the guidance ends. Lower values save time.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, model, scale: float, start_percent: float = 0.0, end_percent: float = 1.0) -> io.NodeOutput:
        return io.NodeOutput(add_temporal_guidance(model, TemporalGuidance(scale, start_percent, end_percent)))
