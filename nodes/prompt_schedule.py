"""Prompts that change from frame to frame."""

from comfy_api.latest import io

from ..motion_modules.errors import LoomError
from ..sampling.prompts.blending import INTERPOLATIONS
from ..sampling.prompts.encoding import encode_prompts
from ..sampling.prompts.schedule import EASINGS, MAX_FRAMES, format_table, join_affixes, parse_schedule, plan_blends
from .motion_model import CATEGORY

EXAMPLE = "0: a red circle\n100%: a blue square"


def _affix(name: str, where: str) -> io.String.Input:
    return io.String.Input(
        name,
        multiline=True,
        dynamic_prompts=True,
        default="",
        optional=True,
        tooltip=f"Added {where} every prompt, with a comma between. Empty adds nothing.",
    )


class PromptSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomPromptSchedule",
            display_name="Prompt Schedule",
            category=CATEGORY,
            description="Gives every frame of a clip its own prompt and blends one into the next.",
            search_aliases=["prompt travel", "Batch Prompt Schedule", "FizzNodes", "keyframes", "AnimateDiff prompts"],
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder, from the checkpoint; LoRAs in between are fine."),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    default=EXAMPLE,
                    tooltip="One prompt per line, as 'frame: prompt'. '12-20:' holds a prompt, '50%:' counts in parts "
                    "of the clip, '...' between two prompts blends them even with easing hold, '#' begins a comment. "
                    "The first frame is 0.",
                ),
                io.Int.Input(
                    "frames",
                    default=16,
                    min=1,
                    max=MAX_FRAMES,
                    tooltip="The length of the clip: the batch_size of its latent.",
                ),
                io.Combo.Input(
                    "interpolation",
                    options=list(INTERPOLATIONS),
                    default="linear",
                    tooltip="The way from one prompt's features to the next: linear goes straight, spherical turns at "
                    "an even pace and keeps their strength in the middle.",
                ),
                io.Combo.Input(
                    "easing",
                    options=list(EASINGS),
                    default="linear",
                    optional=True,
                    tooltip="The pace between two prompts: even, slow at the start, slow at the end, or both. hold "
                    "keeps each prompt until the next begins, except across '...'.",
                ),
                _affix("prefix", "in front of"),
                _affix("suffix", "behind"),
            ],
            outputs=[
                io.Conditioning.Output(display_name="conditioning"),
                io.String.Output(display_name="table"),
            ],
        )

    @classmethod
    def validate_inputs(cls, text: str | None = None, frames: int | None = None) -> bool | str:
        """Says what is wrong with the text when the workflow is queued; linked and missing inputs are None here."""
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
