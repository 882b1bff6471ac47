"""What a Context Windows node asks for, and the weighted windows that follow from it in each step."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...motion_modules.errors import LoomError
from .fusion import FUSIONS, fusion_weights
from .schedules import SCHEDULES, Window, WindowSettings, cyclic_windows, static_windows

LOOPED, VIEW = "looped", "view"
SCHEDULE_NAMES = (*SCHEDULES, VIEW)
MIN_LOOP_FRAMES = 3


@dataclass(frozen=True)
class ContextSettings:
    """How a clip is divided from `start_percent` of the noise schedule on.

    At most `windows_at_once` windows are evaluated in one call of the model. With the view schedule the model sees the
    whole clip, and only temporal attention is divided. Up to `reference_until` of the noise schedule, windows look at
    the first one.
    """

    schedule: str = "static"
    windows: WindowSettings = field(default_factory=WindowSettings)
    fusion: str = FUSIONS[0]
    start_percent: float = 0.0
    windows_at_once: int = 4
    reference_until: float = 0.0

    def check(self) -> None:
        """Raises LoomError for settings that no clip can be sampled with."""
        length, overlap = self.windows.length, self.windows.overlap
        if overlap >= length:
            raise LoomError(
                f"context_overlap is {overlap} and context_length {length}: set context_overlap below context_length."
            )

    @property
    def loops(self) -> bool:
        return self.schedule == LOOPED

    def divides_clip(self, frames: int) -> bool:
        """Whether the model sees windows one behind another."""
        return self.schedule != VIEW and (frames > self.windows.length or self._turns(frames))

    def divides_attention(self, frames: int) -> bool:
        """Whether the model sees the whole clip, and temporal attention windows of it."""
        return frames > self.windows.length if self.schedule == VIEW else self._is_short_loop(frames)

    def attended_frames(self, frames: int) -> int:
        """The largest number of frames that attend to each other in a clip of `frames`."""
        return min(frames, self.windows.length)

    def refers_at(self, sigma: float, model_sampling) -> bool:
        return self.reference_until > 0 and sigma > model_sampling.percent_to_sigma(self.reference_until)

    def plan_windows(self, frames: int, step: int) -> tuple[Window, ...]:
        if self.schedule == VIEW:
            return tuple(static_windows(frames, self.windows))
        if self._is_short_loop(frames):
            return tuple(cyclic_windows(frames, step))
        return tuple(SCHEDULES[self.schedule](frames, self.windows, step))

    def _is_short_loop(self, frames: int) -> bool:
        return self.loops and self.windows.closed_loop and frames <= self.windows.length

    def _turns(self, frames: int) -> bool:
        return self.loops and not self._is_short_loop(frames)


def normalise_weights(windows: Sequence[Window], settings: ContextSettings, frames: int) -> list[list[float]]:
    """For each window what its frames count there; what one frame counts adds up to 1 over all windows."""
    overlap = settings.windows.overlap
    weights = [fusion_weights(settings.fusion, window, frames, overlap, settings.loops) for window in windows]
    total = [0.0] * frames
    for window, own in zip(windows, weights, strict=True):
        for frame, weight in zip(window, own, strict=True):
            total[frame] += weight
    return [
        [w / total[f] for f, w in zip(window, own, strict=True)] for window, own in zip(windows, weights, strict=True)
    ]


def require_loop(settings: ContextSettings, frames: int) -> None:
    if settings.loops and frames < MIN_LOOP_FRAMES:
        raise LoomError(
            f"The latent has {frames} frames, but the looped schedule needs at least {MIN_LOOP_FRAMES} to make a loop: "
            "raise batch_size of the Empty Latent Image node, or choose another schedule."
        )
