"""Positions of frames in windows that are longer than those of the training, as Apply Motion Model offers them."""

from collections.abc import Mapping
from typing import Any

from ..motion_modules.errors import LoomError
from ..motion_modules.frame_positions import AS_TRAINED, FramePositions, stretch
from ..motion_modules.motion_model import MotionModel

TRAINED, STRETCH, REPEAT, BEGIN_LATER = "as trained", "stretch", "repeat", "begin later"
STRETCHED_FRAMES, REPEATED_FRAMES, FIRST_POSITION = "stretched_frames", "repeated_frames", "first_position"
LIMITING_INPUTS = {REPEAT: REPEATED_FRAMES, BEGIN_LATER: FIRST_POSITION}


def read_positions(choice: Mapping[str, Any] | None, motion_model: MotionModel) -> FramePositions:
    """Return the rule of the input `positions`; raise LoomError where the motion model cannot follow it."""
    kind = choice["positions"] if choice else TRAINED
    positions = _make_rule(kind, choice or {}, motion_model)
    if positions.changes and not motion_model.moves_positions:
        raise LoomError(
            f"`positions` is '{kind}', but motion model '{motion_model.name}' has modules without a table of "
            f"positions. Set `positions` to '{TRAINED}'."
        )
    if positions.capacity(motion_model.positions) < 2:
        name = LIMITING_INPUTS[kind]
        raise LoomError(
            f"`{name}` is {(choice or {})[name]}, but motion model '{motion_model.name}' has "
            f"{motion_model.positions} positions. Lower `{name}`."
        )
    return positions


def _make_rule(kind: str, values: Mapping[str, Any], motion_model: MotionModel) -> FramePositions:
    if kind == STRETCH:
        return stretch(min(motion_model.family.trained_frames, motion_model.positions), values[STRETCHED_FRAMES])
    if kind == REPEAT:
        return FramePositions(period=values[REPEATED_FRAMES])
    if kind == BEGIN_LATER:
        return FramePositions(first=values[FIRST_POSITION])
    return AS_TRAINED
