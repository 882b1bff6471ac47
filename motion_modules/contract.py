"""What the placement hands to a motion module, whatever its architecture."""

from dataclasses import dataclass, field

from .errors import MotionModelError


@dataclass(frozen=True)
class MotionInputs:
    """One evaluation's settings: `frames` per cond chunk, `strength` of the change, factor on the attention logits.

    `host_options` are the host's `transformer_options` when they override attention, else empty.
    """

    frames: int
    strength: float = 1.0
    attention_scale: float = 1.0
    host_options: dict = field(default_factory=dict)


def frames_per_chunk(batch: int, chunks: int) -> int:
    """Frames in each of the host's cond chunks, which stand one behind another in the batch."""
    if batch % chunks:
        raise MotionModelError(
            f"The UNet received a batch of {batch} for {chunks} conds, expected a multiple of {chunks}: "
            "remove the node that changes the batch inside the model, or give every cond the same frames."
        )
    return batch // chunks
