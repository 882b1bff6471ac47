"""Vary the strength of motion over frames, sampling, places and blocks."""

from typing import Any

import torch
from comfy_api.latest import io

from ..motion_modules.errors import LoomError
from ..sampling.steering.curves import LARGEST, read_frame_curve, read_progress_curve
from ..sampling.steering.site_values import read_site_values
from ..sampling.steering.strength import (
    SITES,
    MotionStrength,
    StrengthFactor,
    check_mask,
    read_levels,
)
from .inputs import CATEGORY, MotionStrengthSocket, advanced_float

FRAME_CURVE, PROGRESS_CURVE = "frame_curve", "progress_curve"


class MotionStrengthNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoomMotionStrength",
            display_name="Motion Strength",
            category=CATEGORY,
            description="Varies the strength of motion over frames, sampling steps, places in the picture and blocks "
            "of the UNet, for Apply Motion Model.",
            search_aliases=[
                "multival",
                "AD Keyframe",
                "AD Per Block",
                "audio reactive",
                "motion scale",
                "strength schedule",
            ],
            is_input_list=True,  # so that a list of FLOAT values arrives whole
            inputs=[
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=LARGEST,
                    step=0.01,
                    tooltip="Factor for all frames. Everything below multiplies it.",
                ),
                _text(
                    FRAME_CURVE,
                    "0: 1.0, 16: 0.2",
                    "Factor over the frames of the clip, as 'frame: value' or 'percent%: value', separated by commas. "
                    "ease_in, ease_out, ease_in_out or hold after a value changes the way to the next one.",
                ),
                _text(
                    PROGRESS_CURVE,
                    "0: 1.0, 0.5: 0.4",
                    "Factor over sampling, from 0 (start) to 1 (end), in the same form.",
                ),
                _text(
                    SITES,
                    "down.1: 0.5, mid: 0, up.*: 1.2",
                    "Factor of blocks of the UNet, as 'block: value'. Blocks that are not named keep 1, and of "
                    "several that match, the last one holds.",
                ),
                io.MultiType.Input(
                    "levels",
                    types=[io.Float, io.Custom("FLOATS")],
                    optional=True,
                    tooltip="List of FLOAT values, one per frame, such as the loudness of music.",
                ),
                advanced_float(
                    "level_floor",
                    default=0.0,
                    tooltip="Factor at a level of 0, so that silence does not stop the motion. A level of 1 always "
                    "counts as 1.",
                ),
                io.Custom("CURVE").Input(
                    "drawn_curve",
                    optional=True,
                    extra_dict={"forceInput": True},
                    tooltip="Factor over the frames, drawn in ComfyUI's Curve Editor. Its left end is the first frame.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Places that move: white is full strength, black is 0. One mask for all frames, or one "
                    "per frame.",
                ),
                MotionStrengthSocket.Input(
                    "previous", optional=True, tooltip="Another Motion Strength to multiply with this one."
                ),
            ],
            outputs=[MotionStrengthSocket.Output(display_name="motion_strength")],
        )

    @classmethod
    def execute(
        cls,
        strength: list[float],
        frame_curve: list[str] | None = None,
        progress_curve: list[str] | None = None,
        sites: list[str] | None = None,
        levels: list | None = None,
        level_floor: list[float] | None = None,
        drawn_curve: list | None = None,
        mask: list[torch.Tensor] | None = None,
        previous: list[MotionStrength] | None = None,
    ) -> io.NodeOutput:
        factor = StrengthFactor(
            float(_take("strength", strength, 1.0)),
            read_frame_curve(_take(FRAME_CURVE, frame_curve, ""), FRAME_CURVE),
            read_progress_curve(_take(PROGRESS_CURVE, progress_curve, ""), PROGRESS_CURVE),
            read_site_values(_take(SITES, sites, ""), SITES),
            read_levels(levels or ()),
            float(_take("level_floor", level_floor, 0.0)),
            drawn_curve[0].interp if drawn_curve else None,
            check_mask(torch.cat(mask)) if mask else None,
        )
        factor.check()
        others = previous[0].factors if previous else ()
        return io.NodeOutput(MotionStrength((*others, factor)))


def _text(name: str, placeholder: str, tooltip: str) -> io.String.Input:
    return io.String.Input(name, default="", placeholder=placeholder, optional=True, tooltip=tooltip)


def _take(name: str, values: list | None, default: Any) -> Any:
    """Return the only value of an input. Raise LoomError for a list, which only `levels` and `mask` may have."""
    if not values:
        return default
    if len(values) > 1:
        raise LoomError(
            f"`{name}` of Motion Strength has {len(values)} values, but takes one. Connect the list to `levels`, or "
            "one value here."
        )
    return values[0]
