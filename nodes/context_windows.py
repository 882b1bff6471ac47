"""Long clips: context windows on a MODEL."""

from dataclasses import replace

from comfy_api.latest import io

from ..sampling.windows.fusion import FUSIONS
from ..sampling.windows.on_model import add_context_windows
from ..sampling.windows.schedules import WindowSettings
from ..sampling.windows.settings import LOOPED, VIEW, ContextSettings
from .motion_model import CATEGORY

LONGEST = 1024


def _stride() -> io.Int.Input:
    return io.Int.Input(
        "context_stride",
        default=1,
        min=1,
        max=16,
        tooltip="1: windows of neighbours only. 2 and more add windows of every second, fourth ... frame, which hold "
        "the clip together over longer distances and cost time.",
    )


def _closed_loop() -> io.Boolean.Input:
    return io.Boolean.Input(
        "closed_loop", default=True, tooltip="The last frames lead over into the first, so that the video can repeat."
    )


def window_inputs() -> list[io.Input]:
    """What Context Windows and its preview both ask for."""
    return [
        io.Int.Input(
            "context_length",
            default=16,
            min=1,
            max=LONGEST,
            tooltip="Frames in a window. Take what the motion model was trained with: 16 for most.",
        ),
        io.Int.Input(
            "context_overlap",
            default=4,
            min=0,
            max=LONGEST - 1,
            tooltip="Frames that a window shares with the next. More makes smoother seams and costs time.",
        ),
        io.DynamicCombo.Input(
            "schedule",
            options=[
                io.DynamicCombo.Option("static", []),
                io.DynamicCombo.Option("uniform", [_stride()]),
                io.DynamicCombo.Option(LOOPED, [_stride(), _closed_loop()]),
                io.DynamicCombo.Option("batched", []),
                io.DynamicCombo.Option(VIEW, []),
            ],
            tooltip="static: the same windows in every step. uniform: windows that move from step to step. looped: "
            "windows on a circle, for videos that repeat. batched: one window behind another, without overlap. view: "
            "the model sees the whole clip, only the attention between frames is divided; needs memory for all frames.",
        ),
        io.Combo.Input(
            "fuse",
            options=list(FUSIONS),
            default="pyramid",
            tooltip="What a frame counts in a window where windows overlap: pyramid, relative and gaussian most in the "
            "middle, flat everywhere the same, overlap-linear less only in the overlap.",
        ),
        io.Float.Input(
            "start_percent",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.001,
            optional=True,
            advanced=True,
            tooltip="From where in the noise schedule these windows hold. Put several Context Windows nodes on one "
            "model to change over from one schedule to the next.",
        ),
    ]


def context_settings(
    context_length: int, context_overlap: int, schedule: dict, fuse: str, start_percent: float
) -> ContextSettings:
    """The settings that the inputs of `window_inputs` stand for."""
    stride, closed_loop = schedule.get("context_stride", 1), schedule.get("closed_loop", False)
    windows = WindowSettings(context_length, context_overlap, stride, closed_loop)
    return ContextSettings(schedule["schedule"], windows, fuse, start_percent)


class ContextWindows(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomContextWindows",
            display_name="Context Windows (AnimateDiff)",
            category=CATEGORY,
            description="Samples a clip of any length in windows that overlap, so that a motion model for 16 frames "
            "makes 64 or 2,000. Works without a motion model as well.",
            search_aliases=[
                "context options",
                "sliding context window",
                "long video",
                "Looped Uniform",
                "view options",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The model to sample in windows, before or behind Apply Motion Model."),
                *window_inputs(),
                io.Int.Input(
                    "windows_at_once",
                    default=4,
                    min=1,
                    max=64,
                    optional=True,
                    advanced=True,
                    tooltip="At most so many windows in one call of the model; fewer where memory is short. The result "
                    "is the same.",
                ),
                io.Float.Input(
                    "reference_until",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    optional=True,
                    advanced=True,
                    tooltip="Up to where in the noise schedule all windows look at a frame of the first one and take "
                    "on its colours, so that a long clip keeps its appearance: 0 never, 1 always. Not with the view "
                    "schedule.",
                ),
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
        reference_until: float = 0.0,
    ) -> io.NodeOutput:
        settings = context_settings(context_length, context_overlap, schedule, fuse, start_percent)
        settings = replace(settings, windows_at_once=windows_at_once, reference_until=reference_until)
        return io.NodeOutput(add_context_windows(model, settings))
