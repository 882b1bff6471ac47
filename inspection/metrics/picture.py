"""Video metrics in words and as a picture."""

import torch

from ..figures.plots import FAINT, HUES, Lines, Mark, Series, figure
from .video_metrics import VideoMetrics

BORDER = (150, 60, 60)


def describe(metrics: VideoMetrics) -> str:
    """Lines of `name: value (what it means)`."""
    facts = {
        "clip": f"{metrics.frames} frames, {metrics.width} x {metrics.height}",
        "flicker": f"{metrics.flicker:.2%} of full brightness that motion does not explain (0 is none)",
        "change": f"{metrics.change:.2%} of full brightness from frame to frame",
        "motion": f"{metrics.motion:.2f} pixels per frame; fastest 5 % of the picture {metrics.fast_motion:.2f}",
        "loop gap": _loop(metrics),
        "seams": _seams(metrics),
        "largest jump": _jump(metrics),
        "colour drift": f"{metrics.colour_drift:.1f} (CIE dE from the first to the last eighth; 2.3 is just visible)",
        "brightness drift": f"{metrics.brightness_drift:+.1f} of 100 (L*)",
        "saturation drift": f"{metrics.saturation_drift:+.1f} (C*)",
    }
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def draw(metrics: VideoMetrics) -> torch.Tensor:
    """`[1, height, width, 3]` from 0 to 1: change and flicker, motion, brightness and saturation, over the frames."""
    title = f"Video metrics: {metrics.frames} frames, {metrics.width} x {metrics.height}"
    numbers = (
        f"Flicker {metrics.flicker:.2%}, motion {metrics.motion:.2f} pixels per frame, loop gap "
        f"{_times(metrics.loop_gap)}, seams {_times(metrics.seam)}, colour drift {metrics.colour_drift:.1f}"
    )
    return figure(title, numbers, [_changes(metrics).panel(), _motions(metrics).panel(), _colours(metrics).panel()])


def _loop(metrics: VideoMetrics) -> str:
    if metrics.loop_gap is None:
        return "none, since nothing changes in this clip"
    return f"{_times(metrics.loop_gap)} the usual change, from the last frame to the first (about 1 is seamless)"


def _seams(metrics: VideoMetrics) -> str:
    if not metrics.borders:
        return "not looked for (context_length 0, or the clip fits into one window)"
    return f"{_times(metrics.seam)} the change elsewhere, at {len(metrics.borders)} window borders (about 1 is none)"


def _jump(metrics: VideoMetrics) -> str:
    first = metrics.largest_step
    return f"{_times(metrics.largest_jump)} the median change, from frame {first} to {first + 1}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f} x"


def _changes(metrics: VideoMetrics) -> Lines:
    marks = [Mark("last frame to first", FAINT, level=100 * metrics.loop_change)]
    if metrics.borders:
        marks.append(Mark("window border", BORDER, x=tuple(step + 0.5 for step in metrics.borders)))
    series = [
        Series("change to the next frame", [100 * value for value in metrics.changes], HUES[0], between=True),
        Series(
            "flicker (what motion does not explain)", [100 * value for value in metrics.flickers], HUES[1], between=True
        ),
    ]
    return Lines("Change and flicker", "% of full brightness", series, marks, metrics.frames - 1)


def _motions(metrics: VideoMetrics) -> Lines:
    series = [
        Series("whole picture", metrics.motions, HUES[2], between=True),
        Series("fastest 5 %", metrics.fastest, HUES[1], between=True),
    ]
    return Lines("Motion", "pixels per frame", series, last=metrics.frames - 1)


def _colours(metrics: VideoMetrics) -> Lines:
    lightness, chroma = ([colour[index] for colour in metrics.colours] for index in (0, 3))
    series = [Series("brightness L*", lightness, HUES[1]), Series("saturation C*", chroma, HUES[3])]
    return Lines("Brightness and saturation", "CIE L*a*b*", series, last=metrics.frames - 1)
