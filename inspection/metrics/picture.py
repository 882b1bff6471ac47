"""Video metrics as text and as a picture."""

import torch

from ..figures.figure import draw_figure
from ..figures.line_plot import Curve, LinePlot, Mark
from ..figures.style import FAINT, HUES
from .video_metrics import VideoMetrics

BORDER = (150, 60, 60)


def describe(metrics: VideoMetrics) -> str:
    """Return lines of `name: value (meaning)`."""
    facts = {
        "clip": f"{metrics.frames} frames, {metrics.width} x {metrics.height}",
        "flicker": f"{metrics.flicker:.2%} of full brightness, not explained by motion (0 = none)",
        "change": f"{metrics.change:.2%} of full brightness from frame to frame",
        "motion": f"{metrics.motion:.2f} pixels per frame; fastest 5 % of the picture {metrics.fast_motion:.2f}",
        "loop gap": _describe_loop(metrics),
        "seams": _describe_seams(metrics),
        "largest jump": _describe_jump(metrics),
        "colour drift": f"{metrics.colour_drift:.1f} (CIE dE, first to last eighth; 2.3 is just noticeable)",
        "brightness drift": f"{metrics.brightness_drift:+.1f} of 100 (L*)",
        "saturation drift": f"{metrics.saturation_drift:+.1f} (C*)",
    }
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def draw(metrics: VideoMetrics) -> torch.Tensor:
    """Draw `[1, height, width, 3]`: change and flicker, motion, brightness and saturation over the frames."""
    title = f"Video metrics: {metrics.frames} frames, {metrics.width} x {metrics.height}"
    numbers = (
        f"Flicker {metrics.flicker:.2%}, motion {metrics.motion:.2f} pixels per frame, loop gap "
        f"{_format(metrics.loop_gap)}, seams {_format(metrics.seam)}, colour drift {metrics.colour_drift:.1f}"
    )
    plots = (_plot_changes(metrics), _plot_motion(metrics), _plot_colours(metrics))
    return draw_figure(title, numbers, [plot.panel() for plot in plots])


def _describe_loop(metrics: VideoMetrics) -> str:
    if metrics.loop_gap is None:
        return "not defined (nothing changes in this clip)"
    return f"{_format(metrics.loop_gap)} the mean change, from the last frame to the first (about 1: seamless)"


def _describe_seams(metrics: VideoMetrics) -> str:
    if not metrics.borders:
        return "not measured (context_length is 0, or the clip fits into one window)"
    return f"{_format(metrics.seam)} the change elsewhere, at {len(metrics.borders)} window borders (about 1: no seams)"


def _describe_jump(metrics: VideoMetrics) -> str:
    first = metrics.largest_step
    return f"{_format(metrics.largest_jump)} the median change, from frame {first} to {first + 1}"


def _format(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f} x"


def _plot_changes(metrics: VideoMetrics) -> LinePlot:
    marks = [Mark("last frame to first", FAINT, level=100 * metrics.loop_change)]
    if metrics.borders:
        marks.append(Mark("window border", BORDER, x=tuple(step + 0.5 for step in metrics.borders)))
    curves = [
        Curve("change to the next frame", [100 * value for value in metrics.changes], HUES[0], start=0.5),
        Curve(
            "flicker (what motion does not explain)", [100 * value for value in metrics.flickers], HUES[1], start=0.5
        ),
    ]
    return LinePlot("Change and flicker", "% of full brightness", curves, marks, metrics.frames - 1)


def _plot_motion(metrics: VideoMetrics) -> LinePlot:
    curves = [
        Curve("whole picture", metrics.motions, HUES[2], start=0.5),
        Curve("fastest 5 %", metrics.fastest, HUES[1], start=0.5),
    ]
    return LinePlot("Motion", "pixels per frame", curves, last=metrics.frames - 1)


def _plot_colours(metrics: VideoMetrics) -> LinePlot:
    lightness, chroma = ([colour[index] for colour in metrics.colours] for index in (0, 3))
    curves = [Curve("brightness L*", lightness, HUES[1]), Curve("saturation C*", chroma, HUES[3])]
    return LinePlot("Brightness and saturation", "CIE L*a*b*", curves, last=metrics.frames - 1)
