"""Settings of a Context Windows node, and the windows and weights that follow from them in each step.

`nodes/context_windows.py` builds a `ContextSettings`; the handler picks the one that applies at a
noise level, and `ContextRun` asks it for windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...motion_modules.errors import LoomError, require_finite
from ...motion_modules.noise_schedule import has_started
from .fusion import FUSIONS, blend
from .schedules import SCHEDULES, Window, WindowLayout, cyclic_windows, static_windows
from .tiles import TileLayout

LOOPED, VIEW = "looped", "view"
SCHEDULE_NAMES = (*SCHEDULES, VIEW)
MIN_LOOP_FRAMES = 3


@dataclass(frozen=True)
class ContextSettings:
    """Division of a clip, from `start_percent` of the noise schedule on.

    Up to `windows_at_once` windows are evaluated per model call. With the view schedule the model
    sees the whole clip, and only temporal attention is divided. With a `reference_until` above 0,
    all windows take on the colours of a reference window, and attend to it until that point of the
    noise schedule. With `tiles`, the model sees one tile of the picture after another.
    """

    schedule: str = "static"
    layout: WindowLayout = field(default_factory=WindowLayout)
    fusion: str = FUSIONS[0]
    start_percent: float = 0.0
    windows_at_once: int = 4
    reference_until: float = 0.0
    tiles: TileLayout | None = None

    def check(self) -> None:
        """Raise LoomError when no clip can be sampled with these settings."""
        require_finite(self)
        self.layout.check()
        if self.tiles is not None:
            self.tiles.check()

    def check_frames(self, frames: int, remedy: str = "Make a longer clip") -> None:
        """Raise LoomError when a clip of `frames` cannot be sampled with these settings.

        `remedy` says how to make the clip longer.
        """
        if self.loops and frames < MIN_LOOP_FRAMES:
            raise LoomError(
                f"The clip has {frames} frame{'s' * (frames > 1)}, but the looped schedule needs at least "
                f"{MIN_LOOP_FRAMES} with `closed_loop`. {remedy}, or turn off `closed_loop`."
            )

    @property
    def loops(self) -> bool:
        """Return whether windows cross the end of the clip, so that its last frame leads to its first."""
        return self.schedule == LOOPED and self.layout.closed_loop

    def divides(self, frames: int) -> bool:
        return self.divides_clip(frames) or self.divides_attention(frames)

    def divides_clip(self, frames: int) -> bool:
        """Return whether the model sees one window after another instead of the whole clip."""
        return self.schedule != VIEW and frames > self.layout.length

    def divides_attention(self, frames: int) -> bool:
        """Return whether the model sees the whole clip, while temporal attention sees windows."""
        return frames > self.layout.length if self.schedule == VIEW else self._is_short_loop(frames)

    def divides_picture(self, height: int, width: int) -> bool:
        """Return whether the model sees one tile of a latent of this size after another."""
        return self.tiles is not None and self.tiles.divides(height, width)

    def fit_tile(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that the model sees at once of a latent of this size."""
        return self.tiles.fit(height, width) if self.tiles is not None else (height, width)

    def attended_frames(self, frames: int) -> int:
        """Return the largest number of frames that attend to each other in a clip of `frames`."""
        return min(frames, self.layout.length)

    def fewest_attended_frames(self, frames: int) -> int:
        """Return the smallest number of frames that attend to each other in a clip of `frames`."""
        return min(map(len, self.plan_windows(frames, 0))) if self.divides(frames) else frames

    def has_started(self, sigma: float, model_sampling) -> bool:
        return has_started(self.start_percent, sigma, model_sampling)

    @property
    def has_reference(self) -> bool:
        return self.reference_until > 0

    def attends_to_reference(self, sigma: float, model_sampling) -> bool:
        return self.has_reference and not has_started(self.reference_until, sigma, model_sampling)

    def plan_windows(self, frames: int, step: int) -> tuple[Window, ...]:
        """Return the windows of one step over a clip of `frames`."""
        if self.schedule == VIEW:
            return tuple(static_windows(frames, self.layout))
        if self._is_short_loop(frames):
            return tuple(cyclic_windows(frames, step))
        return tuple(SCHEDULES[self.schedule](frames, self.layout, step))

    def _is_short_loop(self, frames: int) -> bool:
        return self.loops and frames <= self.layout.length


def normalise_weights(windows: Sequence[Window], settings: ContextSettings, frames: int) -> list[list[float]]:
    """Return a weight for each frame of each window, such that the weights of a frame add up to 1 over all windows."""
    return blend(windows, settings.fusion, frames, settings.layout.overlap, settings.loops)
