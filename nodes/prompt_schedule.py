"""Schedule prompts over the frames of a clip."""

from comfy_api.latest import io

from ..motion_modules.errors import LoomError
from ..sampling.prompts.blending import INTERPOLATIONS
from ..sampling.prompts.encoding import encode_prompts
from ..sampling.prompts.schedule import EASINGS, format_table, join_affixes, parse_schedule, plan_blends
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
            search_aliases=["prompt travel", "Batch Prompt Schedule", "FizzNodes", "keyframes", "AnimateDiff prompts"],
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
                    "holds the prompt, '50%:' the middle of the clip. '...' between two prompts blends them even if "
                    "easing is hold. '#' starts a comment.",
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
            ],
            outputs=[
                io.Conditioning.Output(display_name="conditioning"),
                io.String.Output(display_name="table"),
            ],
        )

    @classmethod
    def validate_inputs(cls, text: str | None = None, frames: int | None = None) -> bool | str:
        """Check the text when the workflow is queued. Linked and missing inputs are None here."""
        if text is None or frames is None:
            return True
        try:
            parse_schedule(text, frames)
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
    ) -> io.NodeOutput:
        keys = parse_schedule(text, frames)
        prompts = [join_affixes(prefix, key.prompt, suffix) for key in keys]
        conditioning = encode_prompts(clip, prompts, plan_blends(keys, frames, easing), interpolation)
        return io.NodeOutput(conditioning, format_table(keys, frames, easing, prefix, suffix))
