"""How steady a clip is, in numbers: flicker, motion, the gap of a loop, seams of context windows, drift of colour."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean, median

import torch
import torch.nn.functional as F

from ...motion_modules.errors import LoomError
from ...sampling.windows.schedules import WindowLayout, static_windows
from .colour import lab
from .optical_flow import leads_inside, optical_flow, warped

LONGEST_SIDE = 256  # pixels: flow and colours are measured on pictures of at most this size
FASTEST = 0.05  # the share of a picture whose motion VBench's dynamic degree looks at
PAIRS_AT_ONCE = 8
LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709
DRIFT_PART = 8  # first and last eighth of the clip


@dataclass(frozen=True)
class VideoMetrics:
    """Of a clip of F frames: `changes`, `flickers`, `motions`, `fastest` have F - 1 values, one for each step from a
    frame to the next; `colours` has F, each L*, a*, b* and chroma C*. Changes and flicker are parts of the full range
    of brightness, motion is in pixels per frame. A step is numbered by its first frame; `borders` are steps where a
    context window begins or ends.
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
        """Mean absolute difference that is left when the second frame is moved back along the optical flow: the
        warping error of Lai et al. 2018, with absolute differences and without their mask of occlusions."""
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
        return _ratio(fmean(self.changes[step] for step in self.borders), fmean(others)) if self.borders else None

    @property
    def largest_step(self) -> int:
        return max(range(len(self.changes)), key=self.changes.__getitem__)

    @property
    def largest_jump(self) -> float | None:
        """The largest change over the median of all."""
        return _ratio(max(self.changes), median(self.changes))

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
        begin, end = ([fmean(values) for values in zip(*some, strict=True)] for some in self._ends(part))
        return [last - first for first, last in zip(begin, end, strict=True)]

    def _ends(self, part: int) -> tuple[Sequence, Sequence]:
        return self.colours[:part], self.colours[-part:]

    def numbers(self) -> dict[str, float | None]:
        """The single numbers by their names, those of the properties."""
        names = ("change", "flicker", "motion", "fast_motion", "loop_gap", "seam", "largest_jump", "colour_drift")
        return {name: getattr(self, name) for name in (*names, "brightness_drift", "saturation_drift")}

    def to_json(self) -> str:
        """Everything, single numbers and those of every step and frame."""
        return json.dumps({"loom_video_metrics": 1, "numbers": self.numbers(), **asdict(self)}, indent=1)


def video_metrics(images: torch.Tensor, context_length: int = 0, context_overlap: int = 0) -> VideoMetrics:
    """The metrics of `images` `[frames, height, width, 3 or more]`, RGB from 0 to 1.

    Seams are looked for at the borders of static windows of `context_length` frames, of which neighbours share
    `context_overlap`; 0 frames look for none. Raises LoomError for a single frame, NaN, and impossible windows.
    """
    _check(images, context_length, context_overlap)
    steps = [measured for part in _parts(images) for measured in _steps(part)]
    changes, flickers, motions, fastest = zip(*steps, strict=True)
    height, width = images.shape[1:3]
    return VideoMetrics(
        width=width,
        height=height,
        changes=changes,
        flickers=flickers,
        motions=motions,
        fastest=fastest,
        loop_change=float((images[-1, ..., :3] - images[0, ..., :3]).abs().mean()),
        colours=tuple(colour for part in _parts(images, shared=0) for colour in _colours(part)),
        borders=window_borders(len(images), context_length, context_overlap),
    )


def window_borders(frames: int, context_length: int, context_overlap: int) -> tuple[int, ...]:
    """Steps, numbered by their first frame, where a static window begins or ends."""
    if not 0 < context_length < frames:
        return ()
    windows = static_windows(frames, WindowLayout(context_length, context_overlap))
    begins, ends = {window[0] - 1 for window in windows}, {window[-1] for window in windows}
    return tuple(sorted((begins | ends) - {-1, frames - 1}))


def _check(images: torch.Tensor, context_length: int, context_overlap: int) -> None:
    if images.ndim != 4 or len(images) < 2 or images.shape[3] < 3:
        raise LoomError(
            f"`images` has the shape {list(images.shape)}, but metrics need [frames, height, width, 3] with at least 2 "
            "frames: connect all frames of a clip, for instance from VAE Decode."
        )
    if context_length:
        WindowLayout(context_length, context_overlap).check()
    for number, frame in enumerate(images):
        if not frame.sum().isfinite():
            raise LoomError(
                f"Frame {number} of `images` has a NaN or Inf, which has no metrics: "
                "look for its origin with Sampling Report on the model."
            )


def _parts(images: torch.Tensor, shared: int = 1) -> Iterator[torch.Tensor]:
    """A few frames at a time, `[frames, 3, height, width]`; with one shared, every step lies in one part."""
    for start in range(0, len(images) - shared, PAIRS_AT_ONCE):
        yield images[start : start + PAIRS_AT_ONCE + shared, ..., :3].float().clamp(0, 1).movedim(-1, 1)


def _steps(frames: torch.Tensor) -> Iterator[tuple[float, float, float, float]]:
    """Change, flicker, mean motion and fastest motion from each frame to the next."""
    changes = [float((second - first).abs().mean()) for first, second in pairwise(frames)]
    grey = (_reduced(frames) * frames.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    flow = optical_flow(grey[:-1], _as_bright(grey[:-1], grey[1:]))
    inside = leads_inside(flow)
    left = (warped(grey[1:], flow) - grey[:-1]).abs() * inside
    flickers = left.sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3)).clamp(min=1)
    lengths = flow.norm(dim=1).flatten(1) * (max(frames.shape[2:]) / max(grey.shape[2:]))
    fastest = lengths.topk(max(1, round(FASTEST * lengths.shape[1])), dim=1).values.mean(dim=1)
    yield from zip(changes, flickers.tolist(), lengths.mean(dim=1).tolist(), fastest.tolist(), strict=True)


def _as_bright(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """`second` without what all of it became brighter: optical flow takes such a change for motion."""
    return second - (second - first).flatten(1).median(dim=1).values.view(-1, 1, 1, 1)


def _colours(frames: torch.Tensor) -> Iterator[tuple[float, float, float, float]]:
    """Means over the picture: L*, a*, b*, and the chroma C* = |(a*, b*)|."""
    colours = lab(_reduced(frames))
    chroma = colours[:, 1:].norm(dim=1, keepdim=True)
    yield from map(tuple, torch.cat((colours, chroma), dim=1).mean(dim=(2, 3)).tolist())


def _reduced(frames: torch.Tensor) -> torch.Tensor:
    height, width = frames.shape[2:]
    factor = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(1, round(height * factor)), max(1, round(width * factor))
    return F.interpolate(frames, size=size, mode="area")


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
