"""Schedule prompts over the frames of a clip."""

from comfy_api.latest import io

from ..motion_modules.errors import LoomError
from ..sampling.prompts.blending import INTERPOLATIONS
from ..sampling.prompts.encoding import encode_prompts
from ..sampling.prompts.keyframes import LARGEST_FRAME
from ..sampling.prompts.schedule import (
    EASINGS,
    Blend,
    check_schedule,
    format_table,
    join_prompts,
    parse_schedule,
    plan_blends,
)
from .inputs import CATEGORY, clip_frames

EXAMPLE = "0: a red circle\n100%: a blue square"


def _affix(name: str, where: str) -> io.String.Input:
    return io.String.Input(
        name,
        multiline=True,
        dynamic_prompts=True,
        default="",
        optional=True,
        tooltip=f"Text added {where} every prompt, separated by a comma. Leave empty to add nothing.",
    )


class PromptSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomPromptSchedule",
            display_name="Prompt Schedule",
            category=CATEGORY,
            description="Assigns a prompt to every frame of a clip and blends from one prompt to the next.",
            search_aliases=[
                "prompt travel",
                "Batch Prompt Schedule",
                "FizzNodes",
                "keyframe",
                "AnimateDiff prompts",
                "\u63d0\u793a\u8bcd\u65c5\u884c",  # Chinese: prompt travel
                "\u5173\u952e\u5e27",  # Chinese: keyframe
            ],
            inputs=[
                io.Clip.Input(
                    "clip", tooltip="Text encoder, usually from the checkpoint. LoRAs can be applied before this node."
                ),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    default=EXAMPLE,
                    tooltip="One prompt per line, as 'frame: prompt'. Frames count from 0. '12-20:' is a range that "
                    "holds the prompt, '50%:' the middle of the clip. A negative prompt follows '--neg'. The notations "
                    "of FizzNodes, AnimateDiff-Evolved and the web UI work too.",
                ),
                clip_frames(default=16),
                io.Combo.Input(
                    "interpolation",
                    options=list(INTERPOLATIONS),
                    default="linear",
                    tooltip="How the features of two prompts are interpolated. spherical keeps their magnitude "
                    "halfway, which can look stronger.",
                ),
                io.Combo.Input(
                    "easing",
                    options=list(EASINGS),
                    default="linear",
                    optional=True,
                    tooltip="Pace of the transition from one prompt to the next. hold keeps each prompt until the next "
                    "one starts, except across '...'.",
                ),
                _affix("prefix", "before"),
                _affix("suffix", "after"),
                io.Int.Input(
                    "start_frame",
                    default=0,
                    min=0,
                    max=LARGEST_FRAME,
                    optional=True,
                    tooltip="Frame of the schedule at which the clip starts. Use it to make a long video in parts from "
                    "one text.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="conditioning"),
                io.String.Output(display_name="table"),
                io.Conditioning.Output(display_name="negative"),
            ],
        )

    @classmethod
    def validate_inputs(cls, text: str | None = None) -> bool | str:
        """Check the text when the workflow is queued; a linked text is None here.

        The host repeats the answer for every input that it passes, so that this takes one input only.
        """
        if text is None:
            return True
        try:
            check_schedule(text)
        except LoomError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        clip,
        text: str,
        frames: int,
        interpolation: str,
        easing: str = "linear",
        prefix: str = "",
        suffix: str = "",
        start_frame: int = 0,
    ) -> io.NodeOutput:
        keys = parse_schedule(text, frames, start_frame)
        prompts, negatives = join_prompts(keys, prefix, suffix)
        blends = plan_blends(keys, frames, easing, start_frame)
        conditioning = encode_prompts(clip, prompts, blends, interpolation)
        if any(negatives):
            negative = encode_prompts(clip, negatives, blends, interpolation)
        else:
            negative = encode_prompts(clip, [""], [Blend(0, 0, 0.0)], interpolation)
        table = format_table(keys, frames, easing, prefix, suffix, start_frame)
        return io.NodeOutput(conditioning, table, negative)
