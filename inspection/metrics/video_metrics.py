"""Numbers that say how steady a clip is: flicker, motion, gap of a loop, seams of context windows, drift of colour."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median

DRIFT_PART = 8  # first and last eighth of the clip


@dataclass(frozen=True)
class VideoMetrics:
    """Measurements of a clip of F frames.

    `changes`, `flickers`, `motions` and `fastest` have F - 1 values, one for each step from a frame
    to the next; `colours` has F, each L*, a*, b* and chroma C*. Changes and flicker are parts of
    the full range of brightness, motion is in pixels per frame. A step is numbered by its first
    frame; `borders` are steps where a context window begins or ends.
    """

    width: int
    height: int
    changes: tuple[float, ...]
    flickers: tuple[float, ...]
    motions: tuple[float, ...]
    fastest: tuple[float, ...]
    loop_change: float
    colours: tuple[tuple[float, float, float, float], ...]
    borders: tuple[int, ...] = ()

    @property
    def frames(self) -> int:
        return len(self.colours)

    @property
    def change(self) -> float:
        """Mean absolute difference of neighbouring frames: 1 - VBench's temporal flickering (Huang et al. 2024)."""
        return fmean(self.changes)

    @property
    def flicker(self) -> float:
        """Mean absolute difference that remains when the second frame is warped back along the optical flow.

        The warping error of Lai et al. 2018, with absolute differences and without their mask of
        occlusions.
        """
        return fmean(self.flickers)

    @property
    def motion(self) -> float:
        """Mean length of the optical flow, in pixels per frame."""
        return fmean(self.motions)

    @property
    def fast_motion(self) -> float:
        """Mean length of the longest 5 % of the optical flow, as in VBench's dynamic degree (Huang et al. 2024)."""
        return fmean(self.fastest)

    @property
    def loop_gap(self) -> float | None:
        """Change from the last frame to the first, over the mean of the others; None where nothing changes."""
        return self.loop_change / self.change if self.change else None

    @property
    def seam(self) -> float | None:
        """Mean change at borders of windows over the mean of the others; None without borders."""
        others = [change for step, change in enumerate(self.changes) if step not in self.borders]
        return _divide(fmean(self.changes[step] for step in self.borders), fmean(others)) if self.borders else None

    @property
    def largest_step(self) -> int:
        return max(range(len(self.changes)), key=self.changes.__getitem__)

    @property
    def largest_jump(self) -> float | None:
        """Largest change over the median of all changes."""
        return _divide(max(self.changes), median(self.changes))

    @property
    def colour_drift(self) -> float:
        """Distance of the mean colours of the first and the last eighth: CIE 1976, dE = |(dL*, da*, db*)|."""
        return sum(step**2 for step in self._drift[:3]) ** 0.5

    @property
    def brightness_drift(self) -> float:
        """L* of the last eighth minus that of the first."""
        return self._drift[0]

    @property
    def saturation_drift(self) -> float:
        """C* of the last eighth minus that of the first."""
        return self._drift[3]

    @property
    def _drift(self) -> list[float]:
        part = -(-self.frames // DRIFT_PART)
        first, last = (_average(colours) for colours in (self.colours[:part], self.colours[-part:]))
        return [after - before for before, after in zip(first, last, strict=True)]

    def numbers(self) -> dict[str, float | None]:
        """Return the numbers of the whole clip, by the names of their properties."""
        names = ("change", "flicker", "motion", "fast_motion", "loop_gap", "seam", "largest_jump", "colour_drift")
        return {name: getattr(self, name) for name in (*names, "brightness_drift", "saturation_drift")}

    def to_json(self) -> str:
        """Return the numbers of the clip, and those of every step and frame, as JSON."""
        return json.dumps({"loom_video_metrics": 1, "numbers": self.numbers(), **asdict(self)}, indent=1)


def _average(colours: Sequence[Sequence[float]]) -> list[float]:
    return [fmean(values) for values in zip(*colours, strict=True)]


def _divide(part: float, whole: float) -> float | None:
    return part / whole if whole else None
