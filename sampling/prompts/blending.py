"""Text features for every frame of a clip, blended from those of the prompts of a schedule."""

import math
from collections.abc import Callable, Sequence

import torch
from einops import repeat

from ...motion_modules.errors import LoomError
from .schedule import Blend

MIN_SINE = 1e-4  # of the angle between two vectors; below it, they are interpolated on a straight line
MAX_TOKENS = 60 * 77  # enough for prompts of one to six sections of 77 tokens, in any combination


def lerp(start: torch.Tensor, end: torch.Tensor, t: float) -> torch.Tensor:
    return torch.lerp(start, end, t)


def slerp(start: torch.Tensor, end: torch.Tensor, t: float) -> torch.Tensor:
    """Interpolate along the great circle of the last dimension (Shoemake 1985); exact at both ends.

    The length changes linearly from one vector to the other, so that the pace of the turn is
    constant. Vectors that are parallel or zero have no great circle between them, and are
    interpolated on a straight line.
    """
    start_direction, start_length = _direction_and_length(start.double())
    end_direction, end_length = _direction_and_length(end.double())
    angle = (start_direction * end_direction).sum(-1, keepdim=True).clamp(-1, 1).arccos()
    sine = angle.sin()
    arc = ((1 - t) * angle).sin() * start_direction + (t * angle).sin() * end_direction
    on_circle = arc / sine.clamp(min=MIN_SINE) * torch.lerp(start_length, end_length, t)
    on_line = torch.lerp(start.double(), end.double(), t)
    is_straight = (sine < MIN_SINE) | (start_length * end_length == 0)
    return torch.where(is_straight, on_line, on_circle).to(start.dtype)


def _direction_and_length(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    length = vectors.norm(dim=-1, keepdim=True)
    return vectors / length.clamp(min=torch.finfo(vectors.dtype).tiny), length


INTERPOLATIONS: dict[str, Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]] = {
    "linear": lerp,
    "spherical": slerp,
}


def equalise_lengths(contexts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Repeat contexts `[1, tokens, width]` to one number of tokens, as the host does; attention does not change.

    Raise LoomError when lengths without a small common multiple would need more than MAX_TOKENS.
    """
    lengths = sorted({context.shape[1] for context in contexts})
    tokens = math.lcm(*lengths)
    if len(lengths) > 1 and tokens > MAX_TOKENS:
        raise LoomError(
            f"The prompts in `text` have {', '.join(map(str, lengths))} tokens, whose common multiple {tokens} is "
            f"above {MAX_TOKENS}. Shorten the long prompts, or give all prompts a similar length."
        )
    return [repeat(context, "b t w -> b (copy t) w", copy=tokens // context.shape[1]) for context in contexts]


def blend_features(
    features: Sequence[torch.Tensor], blends: Sequence[Blend], interpolation: str, widths: Sequence[int] = ()
) -> torch.Tensor:
    """Blend features `[1, ..., width]` of prompts into `[frames, ..., width]`; a frame of one prompt has its features.

    `widths` are those of text encoders whose features are concatenated; each of them is
    interpolated separately.
    """
    widths = list(widths) or [features[0].shape[-1]]
    blended = features[0].new_empty(len(blends), *features[0].shape[1:])
    for frame, blend in enumerate(blends):
        blended[frame] = _blend_frame(features, blend, INTERPOLATIONS[interpolation], widths)[0]
    return blended


def check_memory(contexts: Sequence[torch.Tensor], frames: int, free_memory: int) -> None:
    """Raise LoomError when the features of `frames` are larger than `free_memory` bytes."""
    frame_memory = sum(context[0].nbytes for context in contexts)
    if frames * frame_memory > free_memory:
        needed, free = frames * frame_memory / 1e9, free_memory / 1e9
        raise LoomError(
            f"The text features of {frames} frames need {needed:.1f} GB, but only {free:.1f} GB of memory are free. "
            f"Lower `frames` to {max(free_memory // frame_memory, 1)} or less, and make the rest of the video with a "
            "higher `start_frame`."
        )


def _blend_frame(
    features: Sequence[torch.Tensor], blend: Blend, interpolate: Callable, widths: list[int]
) -> torch.Tensor:
    if blend.t in (0, 1):
        return features[blend.after if blend.t else blend.before]
    encoders = zip(features[blend.before].split(widths, -1), features[blend.after].split(widths, -1), strict=True)
    return torch.cat([interpolate(start, end, blend.t) for start, end in encoders], dim=-1)
