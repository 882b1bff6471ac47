"""What context windows do: which frames go together, what each window counts, and how windows move with the steps."""

from collections.abc import Sequence

import torch
from loom_mini.host_tree import pack
from PIL import Image

from .drawing import BED, FAINT, SMALL_SIZE, TEXT, plots

FRAMES, STEPS, LANE = 40, 4, 26
TITLE = f"Context windows: a clip of {FRAMES} frames for a model that takes 16 at once"
REMARK = (
    "Every window goes through the UNet as a clip of its own. Where windows overlap, their predictions are joined by a "
    "weighted mean, before the sampler takes its step. A bar is a window, and bright frames count more."
)


def windows_and_weights(schedule: str, step: int) -> list[tuple[tuple[int, ...], list[float]]]:
    """Windows of 16 frames with an overlap of 4, and the normalised pyramid weight of each of their frames.

    From left to right, where the model sees them in the order of the schedule.
    """
    plan = pack("sampling.windows.settings")
    settings = plan.ContextSettings(schedule)
    windows = sorted(settings.plan_windows(FRAMES, step))
    return list(zip(windows, plan.normalise_weights(windows, settings, FRAMES), strict=True))


def data() -> list:
    drawn = [("static", 0), *(("uniform", step) for step in range(STEPS))]
    found = [(*each, windows_and_weights(*each)) for each in drawn]
    return [[*each, [[w, [round(v, 6) for v in own]] for w, own in windows]] for *each, windows in found]


def draw() -> Image.Image:
    moving = [windows_and_weights("uniform", step) for step in range(STEPS)]
    static = windows_and_weights("static", 0)
    panels = [
        _bars("Schedule static:", "the same windows in every step", [static]),
        _weights(static),
        _bars("Schedule uniform:", "windows stand elsewhere in every step, so that no seam stays in place", moving),
    ]
    return _picture(plots.figure(TITLE, REMARK, panels))


def _weights(windows: Sequence[tuple[tuple[int, ...], list[float]]]):
    series = []
    for number, (window, weights) in enumerate(windows):
        values = [weights[window.index(frame)] if frame in window else 0.0 for frame in range(FRAMES)]
        series.append(plots.Series(f"window {number}", values, plots.HUES[number % len(plots.HUES)]))
    mark = plots.Mark("sum", plots.FAINT, level=1.0)
    unit = "of each frame (static, pyramid); those of a frame add up to 1"
    return plots.Lines("Weights", unit, series, [mark], FRAMES - 1).panel()


def _bars(title: str, unit: str, steps: Sequence[Sequence[tuple[tuple[int, ...], list[float]]]]):
    lanes = sum(len(windows) + 1 for windows in steps)

    def paint(pen, area) -> None:
        plots.heading(pen, area, title, unit)
        left, top, cell = area[0] + 82, area[1] + plots.HEAD, (area[2] - area[0] - 106) / (FRAMES - 1)
        for step, windows in enumerate(steps):
            bottom = top + len(windows) * LANE
            pen.rectangle((left - cell / 2, top, left + (FRAMES - 0.5) * cell, bottom), BED)
            name = f"step {step}" if len(steps) > 1 else "all steps"
            pen.text((left - 22, (top + bottom) / 2), name, TEXT, plots.font(SMALL_SIZE), anchor="rm")
            for number, (window, weights) in enumerate(windows):
                _bar(pen, left, top + number * LANE, cell, number, window, weights)
            top = bottom + LANE
        pen.text(((area[0] + area[2]) / 2, top - LANE + 6), "frame", FAINT, plots.font(SMALL_SIZE), anchor="ma")

    return plots.Panel(plots.HEAD + lanes * LANE + 10, paint)


def _bar(pen, left: float, top: float, cell: float, number: int, window: tuple[int, ...], weights: list[float]) -> None:
    shade, hue = pack("inspection.windows.picture").shade, plots.HUES[number % len(plots.HUES)]
    for frame, weight in zip(window, weights, strict=True):
        x = left + (frame - 0.5) * cell
        pen.rectangle((x + 1, top + 2, x + cell - 2, top + LANE - 3), shade(weight, hue))
        if frame in (window[0], window[-1]):
            dark = weight > 0.5
            middle = (x + cell / 2, top + LANE / 2)
            pen.text(middle, str(frame), plots.PAPER if dark else TEXT, plots.font(13), anchor="mm")


def _picture(image: torch.Tensor) -> Image.Image:
    return Image.fromarray((image[0] * 255).round().to(torch.uint8).numpy())
