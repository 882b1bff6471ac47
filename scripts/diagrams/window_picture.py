"""Picture of context windows: their frames, the weights of overlapping windows, and how they move with the steps."""

from collections.abc import Sequence

from host.in_process import pack
from PIL import Image

from .drawing import BED, FAINT, SMALL_SIZE, TEXT, figure, style

line_plot = pack("inspection.figures.line_plot")

FRAMES, STEPS, LANE = 40, 4, 26
TITLE = f"Context windows: a clip of {FRAMES} frames for a model of up to 16 frames"
REMARK = (
    "The UNet sees every window as a clip of its own. Where windows overlap, their predictions are blended by a "
    "weighted mean before each step of the sampler. A bar is a window, and brighter frames have a higher weight."
)


def plan_windows(schedule: str, step: int) -> list[tuple[tuple[int, ...], list[float]]]:
    """Return windows of 16 frames with an overlap of 4, and the normalised pyramid weight of each of their frames.

    From left to right; the model sees them in the order of the schedule.
    """
    plan = pack("sampling.windows.settings")
    settings = plan.ContextSettings(schedule)
    windows = sorted(settings.plan_windows(FRAMES, step))
    return list(zip(windows, plan.normalise_weights(windows, settings, FRAMES), strict=True))


def collect_data() -> list:
    """Return what the picture shows, for the check that it is up to date."""
    drawn = [("static", 0), *(("uniform", step) for step in range(STEPS))]
    return [
        [*step, [[window, [round(w, 6) for w in weights]] for window, weights in plan_windows(*step)]] for step in drawn
    ]


def draw() -> Image.Image:
    moving = [plan_windows("uniform", step) for step in range(STEPS)]
    static = plan_windows("static", 0)
    panels = [
        _draw_steps("Schedule static:", "the same windows in every step", [static]),
        _plot_weights(static),
        _draw_steps("Schedule uniform:", "windows move in every step, so that no seam stays in place", moving),
    ]
    return figure.draw_picture(TITLE, REMARK, panels)


def _plot_weights(windows: Sequence[tuple[tuple[int, ...], list[float]]]):
    curves = []
    for number, (window, weights) in enumerate(windows):
        values = [weights[window.index(frame)] if frame in window else 0.0 for frame in range(FRAMES)]
        curves.append(line_plot.Curve(f"window {number}", values, style.HUES[number % len(style.HUES)]))
    mark = line_plot.Mark("sum", FAINT, level=1.0)
    unit = "of each frame (static, pyramid); the weights of a frame add up to 1"
    return line_plot.LinePlot("Weights", unit, curves, [mark], FRAMES - 1).panel()


def _draw_steps(title: str, unit: str, steps: Sequence[Sequence[tuple[tuple[int, ...], list[float]]]]):
    lanes = sum(len(windows) + 1 for windows in steps)

    def draw(pen, area) -> None:
        figure.draw_heading(pen, area, title, unit)
        left, top, cell = area[0] + 82, area[1] + figure.HEADING, (area[2] - area[0] - 106) / (FRAMES - 1)
        for step, windows in enumerate(steps):
            bottom = top + len(windows) * LANE
            pen.rectangle((left - cell / 2, top, left + (FRAMES - 0.5) * cell, bottom), BED)
            name = f"step {step}" if len(steps) > 1 else "all steps"
            pen.text((left - 22, (top + bottom) / 2), name, TEXT, style.load_font(SMALL_SIZE), anchor="rm")
            for number, (window, weights) in enumerate(windows):
                _draw_bar(pen, left, top + number * LANE, cell, number, window, weights)
            top = bottom + LANE
        pen.text(((area[0] + area[2]) / 2, top - LANE + 6), "frame", FAINT, style.load_font(SMALL_SIZE), anchor="ma")

    return figure.Panel(figure.HEADING + lanes * LANE + 10, draw)


def _draw_bar(
    pen, left: float, top: float, cell: float, number: int, window: tuple[int, ...], weights: list[float]
) -> None:
    hue = style.HUES[number % len(style.HUES)]
    for frame, weight in zip(window, weights, strict=True):
        x = left + (frame - 0.5) * cell
        pen.rectangle((x + 1, top + 2, x + cell - 2, top + LANE - 3), style.dim(hue, weight))
        if frame in (window[0], window[-1]):
            dark = weight > 0.5
            middle = (x + cell / 2, top + LANE / 2)
            pen.text(middle, str(frame), style.PAPER if dark else TEXT, style.load_font(13), anchor="mm")
