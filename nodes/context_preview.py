"""Draw context windows before anything is sampled."""

from dataclasses import replace

from comfy_api.latest import io, ui

from ..inspection.windows.picture import MAX_ROWS, draw
from ..inspection.windows.preview import plan_preview
from .inputs import (
    CATEGORY,
    MAX_SIDE,
    MAX_STEPS,
    clip_frames,
    context_settings,
    tile_layout,
    tiles_input,
    window_inputs,
)


class PreviewContextWindows(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomContextPreview",
            display_name="Preview Context Windows",
            category=CATEGORY,
            description="Draws the windows that Apply Context Windows (AnimateDiff) samples in each step, with the "
            "weight of every frame, and estimates the cost.",
            search_aliases=["context options preview", "visualize context", "plot windows", "window weights"],
            is_output_node=True,
            inputs=[
                *window_inputs(),
                clip_frames(default=64),
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=MAX_STEPS,
                    tooltip="Number of sampling steps. The picture shows as many as fit.",
                ),
                tiles_input(_side("width"), _side("height")),
            ],
            outputs=[io.Image.Output(display_name="image"), io.String.Output(display_name="summary")],
        )

    @classmethod
    def execute(
        cls,
        context_length: int,
        context_overlap: int,
        schedule: dict,
        fuse: str,
        frames: int,
        steps: int,
        start_percent: float = 0.0,
        tiles: dict | None = None,
    ) -> io.NodeOutput:
        settings = context_settings(context_length, context_overlap, schedule, fuse, start_percent)
        settings = replace(settings, tiles=tile_layout(tiles))
        picture = (tiles["width"], tiles["height"]) if tiles and settings.tiles else None
        preview = plan_preview(settings, frames, steps, MAX_ROWS, picture)
        image = draw(preview)
        return io.NodeOutput(image, preview.summary, ui=ui.PreviewImage(image, cls=cls))


def _side(name: str) -> io.Int.Input:
    return io.Int.Input(
        name, default=1024, min=64, max=MAX_SIDE, step=8, tooltip=f"{name.capitalize()} of the picture in pixels."
    )
