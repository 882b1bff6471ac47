"""Sample long clips in context windows."""

from dataclasses import replace

from comfy_api.latest import io

from ..sampling.windows.on_model import add_context_windows
from .inputs import CATEGORY, advanced_float, context_settings, tile_layout, tiles_input, window_inputs


class ContextWindows(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomContextWindows",
            display_name="Apply Context Windows (AnimateDiff)",
            category=CATEGORY,
            description="Samples clips of any length in overlapping windows, so that a motion model trained on 16 "
            "frames can make 64 or 2,000. Can divide a large picture into tiles as well. Also works without a motion "
            "model.",
            search_aliases=[
                "context options",
                "sliding context window",
                "long video",
                "Looped Uniform",
                "seamless loop",
                "view options",
                "tiled upscale",
                "tiled diffusion",
                "MultiDiffusion",
                "\u957f\u89c6\u9891",  # Chinese: long video
                "\u5faa\u73af\u89c6\u9891",  # Chinese: looping video
                "\u6ed1\u52a8\u7a97\u53e3",  # Chinese: sliding window
                "\u5206\u5757\u653e\u5927",  # Chinese: tiled upscale
            ],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Model to sample in windows. This node can be placed before or after Apply Motion Model.",
                ),
                *window_inputs(),
                io.Int.Input(
                    "windows_at_once",
                    default=4,
                    min=1,
                    max=64,
                    optional=True,
                    advanced=True,
                    tooltip="Maximum number of windows per model call. Lowered automatically when memory is short. "
                    "Does not change the result.",
                ),
                advanced_float(
                    "reference_until",
                    default=0.5,
                    tooltip="Keeps the look of a long clip consistent. Until this point, all windows stay in place "
                    "and also attend to a frame of the first window. They take on its colours in every step. "
                    "0 disables it.",
                ),
                tiles_input(),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(
        cls,
        model,
        context_length: int,
        context_overlap: int,
        schedule: dict,
        fuse: str,
        start_percent: float = 0.0,
        windows_at_once: int = 4,
        reference_until: float = 0.5,
        tiles: dict | None = None,
    ) -> io.NodeOutput:
        settings = context_settings(context_length, context_overlap, schedule, fuse, start_percent)
        settings = replace(
            settings, windows_at_once=windows_at_once, reference_until=reference_until, tiles=tile_layout(tiles)
        )
        return io.NodeOutput(add_context_windows(model, settings))
