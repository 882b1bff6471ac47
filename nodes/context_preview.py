"""A picture of context windows, before anything is sampled."""

from comfy_api.latest import io, ui

from ..inspection.windows.picture import MOST_ROWS, draw
from ..inspection.windows.preview import preview, summary
from .context_windows import context_settings, window_inputs
from .motion_model import CATEGORY

MAX_FRAMES, MAX_STEPS = 4096, 10000


class PreviewContextWindows(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomContextPreview",
            display_name="Preview Context Windows",
            category=CATEGORY,
            description="Draws which frames Context Windows (AnimateDiff) puts together in each step, how much each "
            "frame counts there, and says what it costs.",
            search_aliases=["context options preview", "visualize context", "plot windows", "window weights"],
            is_output_node=True,
            inputs=[
                *window_inputs(),
                io.Int.Input(
                    "frames",
                    default=64,
                    min=1,
                    max=MAX_FRAMES,
                    tooltip="The length of the clip: the batch_size of its latent.",
                ),
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=MAX_STEPS,
                    tooltip="The steps of the sampler. As many are drawn as have room.",
                ),
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
    ) -> io.NodeOutput:
        settings = context_settings(context_length, context_overlap, schedule, fuse, start_percent)
        shown = preview(settings, frames, steps, MOST_ROWS)
        image = draw(shown)
        return io.NodeOutput(image, summary(shown), ui=ui.PreviewImage(image, cls=cls))
