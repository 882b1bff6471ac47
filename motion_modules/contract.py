"""What the placement hands to a motion module, whatever its architecture."""

from dataclasses import dataclass, field

import torch

from .errors import MotionModelError


@dataclass(frozen=True)
class Views:
    """Frames that attend to each other: windows of frame numbers, and what each window counts for its frames.

    The weights are `[1, frames, 1]`; those of all windows that hold a frame add up to 1.
    """

    windows: tuple[torch.Tensor, ...]
    weights: tuple[torch.Tensor, ...]

    def on(self, tokens: torch.Tensor) -> "Views":
        """The same on the device of `tokens`, weights in their precision."""
        windows = tuple(window.to(tokens.device) for window in self.windows)
        return Views(windows, tuple(weight.to(tokens) for weight in self.weights))


@dataclass(frozen=True)
class Windowing:
    """How the frames of each of the host's cond chunks are divided: `clips` behind one another, or `views` of one."""

    clips: int = 1
    views: Views | None = None


WHOLE = Windowing()


@dataclass(frozen=True)
class MotionInputs:
    """One evaluation's settings: `frames` per cond chunk, `strength` of the change, factor on the attention logits.

    `host_options` are the host's `transformer_options` when they override attention, else empty. With `views`, frames
    attend to each other in those windows only.
    """

    frames: int
    strength: float = 1.0
    attention_scale: float = 1.0
    host_options: dict = field(default_factory=dict)
    views: Views | None = None

    @property
    def frames_together(self) -> int:
        """The largest number of frames that attend to each other."""
        return max(len(window) for window in self.views.windows) if self.views else self.frames


def frames_per_chunk(batch: int, chunks: int) -> int:
    """Frames in each of the host's cond chunks, which stand one behind another in the batch."""
    if batch % chunks:
        raise MotionModelError(
            f"The UNet received a batch of {batch} for {chunks} conds, expected a multiple of {chunks}: "
            "remove the node that changes the batch inside the model, or give every cond the same frames."
        )
    return batch // chunks
