"""Measure how steady a finished clip is."""

from comfy_api.latest import io, ui

from ..inspection.metrics.measure import measure_video
from ..inspection.metrics.picture import describe, draw
from .inputs import CATEGORY, context_length, context_overlap


class VideoMetricsNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomVideoMetrics",
            display_name="Video Metrics",
            category=CATEGORY,
            description="Measures a finished clip: flicker, motion, loop gap, seams of context windows and colour "
            "drift, as numbers and plots.",
            search_aliases=["flicker", "optical flow", "temporal consistency", "loop check", "VBench", "video quality"],
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="Frames of one clip, at least 2, for example from VAE Decode."),
                context_length(
                    "Frames per context window, as in Context Windows. Seams are measured at the borders of static "
                    "windows; 0 disables this.",
                    default=0,
                    min=0,
                    optional=True,
                ),
                context_overlap(
                    "Frames shared by neighbouring windows, as in Context Windows. Used only with context_length.",
                    optional=True,
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
        metrics = measure_video(images, context_length, context_overlap)
        text, plots = describe(metrics), draw(metrics)
        shown = {**ui.PreviewImage(plots, cls=cls).as_dict(), **ui.PreviewText(text).as_dict()}
        return io.NodeOutput(text, plots, metrics.to_json(), ui=shown)
