"""How steady a finished clip is."""

from comfy_api.latest import io, ui

from ..inspection.metrics.picture import describe, draw
from ..inspection.metrics.video_metrics import video_metrics
from .context_windows import LONGEST
from .motion_model import CATEGORY


class MeasureVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomVideoMetrics",
            display_name="Video Metrics",
            category=CATEGORY,
            description="Measures a clip: flicker, motion, the gap of a loop, seams of context windows and drift of "
            "colour, in numbers and plots.",
            search_aliases=["flicker", "optical flow", "temporal consistency", "loop check", "VBench", "video quality"],
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="The frames of one clip, for instance from VAE Decode; at least 2."),
                io.Int.Input(
                    "context_length",
                    default=0,
                    min=0,
                    max=LONGEST,
                    optional=True,
                    tooltip="Looks for seams at the borders of static windows of so many frames; the same as in "
                    "Context Windows. 0 looks for none.",
                ),
                io.Int.Input(
                    "context_overlap",
                    default=4,
                    min=0,
                    max=LONGEST - 1,
                    optional=True,
                    tooltip="Frames that two windows share; the same as in Context Windows. Counts only with a "
                    "context_length.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="text"),
                io.Image.Output(display_name="plots"),
                io.String.Output(display_name="json"),
            ],
        )

    @classmethod
    def execute(cls, images, context_length: int = 0, context_overlap: int = 4) -> io.NodeOutput:
        metrics = video_metrics(images, context_length, context_overlap)
        text, plots = describe(metrics), draw(metrics)
        shown = {**ui.PreviewImage(plots, cls=cls).as_dict(), **ui.PreviewText(text).as_dict()}
        return io.NodeOutput(text, plots, metrics.to_json(), ui=shown)
