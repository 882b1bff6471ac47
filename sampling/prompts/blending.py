"""Text features for every frame of a clip, between those of the prompts that a schedule names."""

import math
from collections.abc import Callable, Sequence

import torch

from ...motion_modules.errors import LoomError
from .schedule import Blend

PARALLEL = 1e-4  # of the sine between two vectors, below which the way between them is a straight line
MAX_TOKENS = 60 * 77  # prompts of one to six sections of 77 tokens, in any mixture


def lerp(start: torch.Tensor, end: torch.Tensor, t: float) -> torch.Tensor:
    return torch.lerp(start, end, t)


def slerp(start: torch.Tensor, end: torch.Tensor, t: float) -> torch.Tensor:
    """Along the great circle between the directions of the last dimension (Shoemake 1985); exact at both ends.

    The length goes evenly from that of one vector to that of the other, so that the turn is even as well.
    Vectors that are parallel, or zero, have no circle between them but a straight line.
    """
    start_way, start_length = _direction_and_length(start.double())
    end_way, end_length = _direction_and_length(end.double())
    angle = (start_way * end_way).sum(-1, keepdim=True).clamp(-1, 1).arccos()
    sine = angle.sin()
    around = (((1 - t) * angle).sin() * start_way + (t * angle).sin() * end_way) / sine.clamp(min=PARALLEL)
    straight = (sine < PARALLEL) | (start_length * end_length == 0)
    turned = around * torch.lerp(start_length, end_length, t)
    return torch.where(straight, torch.lerp(start.double(), end.double(), t), turned).to(start.dtype)


def _direction_and_length(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    length = vectors.norm(dim=-1, keepdim=True)
    return vectors / length.clamp(min=torch.finfo(vectors.dtype).tiny), length


INTERPOLATIONS: dict[str, Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]] = {
    "linear": lerp,
    "spherical": slerp,
}


def equalise_lengths(contexts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """`[1, tokens, width]` each, repeated to one number of tokens as the host does; attention sees no difference.

    Raises LoomError where lengths without a small common multiple would need more than MAX_TOKENS.
    """
    lengths = sorted({context.shape[1] for context in contexts})
    tokens = math.lcm(*lengths)
    if len(lengths) > 1 and tokens > MAX_TOKENS:
        raise LoomError(
            f"The prompts in text have {', '.join(map(str, lengths))} tokens, which only meet at {tokens}, more than "
            f"{MAX_TOKENS}: shorten the long prompts, or make them as long as one another."
        )
    return [context.repeat(1, tokens // context.shape[1], 1) for context in contexts]


def blend_features(
    features: Sequence[torch.Tensor], between: Sequence[Blend], interpolation: str, widths: Sequence[int] = ()
) -> torch.Tensor:
    """`[1, ..., width]` for each prompt to `[frames, ..., width]`; a frame of one prompt has its very features.

    `widths`: those of several text encoders whose features stand side by side, each of which is interpolated by itself.
    """
    widths = list(widths) or [features[0].shape[-1]]
    return torch.cat([_of_frame(features, blend, INTERPOLATIONS[interpolation], widths) for blend in between])


def _of_frame(features: Sequence[torch.Tensor], blend: Blend, interpolate: Callable, widths: list[int]) -> torch.Tensor:
    if blend.t in (0, 1):
        return features[blend.after if blend.t else blend.before]
    encoders = zip(features[blend.before].split(widths, -1), features[blend.after].split(widths, -1), strict=True)
    return torch.cat([interpolate(start, end, blend.t) for start, end in encoders], dim=-1)
