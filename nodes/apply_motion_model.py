"""Apply a motion model to a MODEL."""

from comfy_api.latest import io

from ..motion_modules.families import AUTO
from ..motion_modules.unet.applied import MotionSettings
from ..sampling.animate import BETA_SCHEDULE_CHOICES, animate
from ..sampling.positions import (
    BEGIN_LATER,
    FIRST_POSITION,
    REPEAT,
    REPEATED_FRAMES,
    STRETCH,
    STRETCHED_FRAMES,
    TRAINED,
    read_positions,
)
from .inputs import CATEGORY, MAX_WINDOW, MotionModelSocket, MotionStrengthSocket, advanced_float


def _positions() -> io.DynamicCombo.Input:
    stretched = _count_frames(
        STRETCHED_FRAMES,
        default=32,
        tooltip="Frames over which the positions of the training are spread. Gives slower motion, and windows longer "
        "than those of the training, such as 32 frames instead of 16.",
    )
    repeated = _count_frames(
        REPEATED_FRAMES,
        default=16,
        tooltip="Frames after which the positions begin again. For windows of any length at the usual speed; the "
        "motion tends to repeat.",
    )
    first = _count_frames(
        FIRST_POSITION,
        default=4,
        tooltip="Position of the first frame. For clips that begin with a jolt: the first frame is then like one from "
        "the middle of a clip. It leaves fewer positions.",
    )
    return io.DynamicCombo.Input(
        "positions",
        options=[
            io.DynamicCombo.Option(TRAINED, []),
            io.DynamicCombo.Option(STRETCH, [stretched]),
            io.DynamicCombo.Option(REPEAT, [repeated]),
            io.DynamicCombo.Option(BEGIN_LATER, [first]),
        ],
        optional=True,
        tooltip="Which positions the motion model gives to frames. Change it for slower motion, or for windows longer "
        "than it has positions for.",
    )


def _count_frames(name: str, default: int, tooltip: str) -> io.Int.Input:
    return io.Int.Input(name, default=default, min=2, max=MAX_WINDOW, tooltip=tooltip)


class ApplyMotionModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomApplyMotionModel",
            display_name="Apply Motion Model (AnimateDiff)",
            category=CATEGORY,
            description="Adds a motion model to a Stable Diffusion model, so that a batch of latents is sampled as one "
            "moving clip.",
            search_aliases=[
                "AnimateDiff",
                "ADE",
                "AnimateDiff Evolved",
                "Apply AnimateDiff Model",
                "Use Evolved Sampling",
                "text to video",
                "vid2vid",
                "gif",
                "Hotshot-XL",
                "AnimateDiff Lightning",
                "AnimateLCM",
                "beta schedule",
                "multival",
                "\u52a8\u753b",  # Chinese: animation
                "\u6587\u751f\u89c6\u9891",  # Chinese: text to video
                "\u89c6\u9891\u8f6c\u89c6\u9891",  # Chinese: video to video
                "\u8fd0\u52a8\u6a21\u578b",  # Chinese: motion model
            ],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Stable Diffusion model to animate. LoRAs can be applied before or after this node.",
                ),
                MotionModelSocket.Input(
                    "motion_model",
                    tooltip="Motion model to add, from Load Motion Model. It must be made for the same base model.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Strength of the motion modules. 1 is as trained, lower values give calmer motion, and 0 "
                    "turns the motion model off.",
                ),
                advanced_float(
                    "attention_scale",
                    default=1.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Scale of the attention between frames. Values above 1 usually give more motion, values "
                    "below 1 less. LongAnimateDiff needs 1.15.",
                ),
                advanced_float(
                    "start_percent", default=0.0, tooltip="Point in sampling at which the motion starts (0 = start)."
                ),
                advanced_float(
                    "end_percent", default=1.0, tooltip="Point in sampling at which the motion ends (1 = end)."
                ),
                io.Combo.Input(
                    "beta_schedule",
                    options=list(BETA_SCHEDULE_CHOICES),
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="Noise schedule to sample with. auto selects the one the motion model was trained with; "
                    "any other gives grey or washed-out videos. A ModelSampling node after this node overrides it.",
                ),
                MotionStrengthSocket.Input(
                    "motion_strength",
                    optional=True,
                    tooltip="Strength that varies over frames, sampling, places or blocks, from Motion Strength. It "
                    "multiplies strength.",
                ),
                MotionStrengthSocket.Input(
                    "motion_attention_scale",
                    optional=True,
                    tooltip="Attention scale that varies in the same way, from Motion Strength. It multiplies "
                    "attention_scale.",
                ),
                _positions(),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(
        cls,
        model,
        motion_model,
        strength: float = 1.0,
        attention_scale: float = 1.0,
        start_percent: float = 0.0,
        end_percent: float = 1.0,
        beta_schedule: str = AUTO,
        motion_strength=None,
        motion_attention_scale=None,
        positions: dict | None = None,
    ) -> io.NodeOutput:
        variations = (motion_strength, motion_attention_scale)
        rule = read_positions(positions, motion_model)
        settings = MotionSettings(strength, attention_scale, start_percent, end_percent, *variations, rule)
        return io.NodeOutput(animate(model, motion_model, settings, beta_schedule))
