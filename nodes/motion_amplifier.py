"""Amplify the motion of a motion model, without training."""

from comfy_api.latest import io

from ..sampling.steering.amplifier import AUTO, AmplifierSettings, add_motion_amplifier
from .inputs import CATEGORY, advanced_float


class MotionAmplifier(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomMotionAmplifier",
            display_name="Motion Amplifier",
            category=CATEGORY,
            description="Makes more motion without training and without extra time, by amplifying the differences "
            "between frames in the attention of motion modules at the start of sampling.",
            search_aliases=["ByTheWay", "BroadWay", "more motion", "motion scale"],
            inputs=[
                io.Model.Input("model", tooltip="Model with a motion model, before or after this node."),
                io.Float.Input(
                    "beta",
                    default=1.5,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Factor of the differences between frames. 1 is the same as without this node, lower "
                    "values make less motion.",
                ),
                advanced_float(
                    "end",
                    default=0.2,
                    tooltip="Part of the steps, from the first on, in which motion is amplified.",
                ),
                io.String.Input(
                    "sites",
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="Sites where motion is amplified, such as up.1, up.2. auto takes the last three levels of "
                    "the way up.",
                ),
                advanced_float(
                    "slowest",
                    default=0.0,
                    tooltip="Lowest frequency that is amplified, relative to the highest one. 0 amplifies all changes "
                    "between frames.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, model, beta: float, end: float = 0.2, sites: str = AUTO, slowest: float = 0.0) -> io.NodeOutput:
        return io.NodeOutput(add_motion_amplifier(model, AmplifierSettings(beta, sites, end, slowest)))
