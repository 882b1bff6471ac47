"""Pictures of context windows for the help panel: every schedule, step by step, and how to read the preview."""

from pathlib import Path

from diagrams.drawing import BED, FAINT, GRID, ORANGE, PAPER, TEXT, pack, style, write
from PIL import Image

from .animation import GAP, LABEL, NOTE, PANEL, save_animation

FRAMES, STEPS, LENGTH, OVERLAP, REFERENCE_UNTIL = 40, 8, 16, 4, 0.5
SCHEDULES = {
    "static": "the same in every step",
    "uniform": "moves, ends stay open",
    "looped": "moves around a circle",
    "batched": "no overlap",
    "view": "attention only",
}
LANE, HEADING = 16, 34
CELL = (PANEL - 2 * GAP - 24) / FRAMES
MILLISECONDS = 900

Weighted = list[tuple[tuple[int, ...], list[float]]]


def plan_windows(schedule: str, step: int) -> Weighted:
    """Return the windows of a step, from left to right, with the weights of their frames.

    Windows stay in place while they attend to the reference, as in `sampling/windows/evaluation.py`.
    """
    settings_module = pack("sampling.windows.settings")
    layout = pack("sampling.windows.schedules").WindowLayout(LENGTH, OVERLAP, closed_loop=True)
    settings = settings_module.ContextSettings(schedule, layout, reference_until=REFERENCE_UNTIL)
    stays = settings.schedule != settings_module.VIEW and step < STEPS * REFERENCE_UNTIL
    windows = sorted(settings.plan_windows(FRAMES, 0 if stays else step))
    return list(zip(windows, settings_module.normalise_weights(windows, settings, FRAMES), strict=True))


def draw_schedules(file: Path) -> None:
    """Draw all schedules below each other, a picture for each step."""
    save_animation([_draw_step(step) for step in range(STEPS)], file, MILLISECONDS)


def draw_reading(file: Path) -> None:
    """Draw two steps of a looped clip with the parts of the picture named."""
    steps = (0, STEPS - 1)
    windows = [plan_windows("looped", step) for step in steps]
    height = sum(HEADING + LANE * 2 * len(each) + GAP for each in windows) + 120
    page = Image.new("RGB", (PANEL, height), PAPER)
    pen, top = style.Pen(page), GAP
    for step, each in zip(steps, windows, strict=True):
        write(pen, (GAP, top), f"step {step}", TEXT, LABEL)
        _draw_lanes(pen, top + HEADING, each, LANE * 2)
        top += HEADING + LANE * 2 * len(each) + GAP
    pen.rectangle((GAP, top + 6, GAP + 18, top + 24), style.HUES[0])
    write(pen, (GAP + 30, top), "bar: window; brighter: more weight", FAINT, NOTE)
    _draw_arrow(pen, GAP + 4, top + 48, style.HUES[3])
    write(pen, (GAP + 30, top + 34), "goes on at the other end of the clip", FAINT, NOTE)
    write(pen, (PANEL / 2, height - 30), f"frames 0 to {FRAMES - 1}", FAINT, NOTE, "ma")
    page.save(file, optimize=True)


def _draw_step(step: int) -> Image.Image:
    steps = range(STEPS)
    lanes = {name: max(len(plan_windows(name, each)) for each in steps) for name in SCHEDULES}
    height = 50 + sum(HEADING + LANE * count + GAP for count in lanes.values()) + 34
    page = Image.new("RGB", (PANEL, height), PAPER)
    pen, top = style.Pen(page), 50
    _write_head(pen, step)
    for name, remark in SCHEDULES.items():
        write(pen, (GAP, top), name, TEXT, LABEL)
        write(pen, (PANEL - GAP, top + 3), remark, FAINT, NOTE, "ra")
        _draw_lanes(pen, top + HEADING, plan_windows(name, step), LANE, whole=name == "view")
        top += HEADING + LANE * lanes[name] + GAP
    write(pen, (PANEL / 2, height - 34), f"frames 0 to {FRAMES - 1}", FAINT, NOTE, "ma")
    return page


def _write_head(pen, step: int) -> None:
    stays = step < STEPS * REFERENCE_UNTIL
    write(pen, (GAP, 10), f"step {step}", ORANGE, LABEL)
    state = f"all stay until reference_until {REFERENCE_UNTIL:g}" if stays else "uniform and looped move"
    write(pen, (PANEL - GAP, 13), state, FAINT, NOTE, "ra")


def _draw_lanes(pen, top: float, windows: Weighted, lane: int, whole: bool = False) -> None:
    left = GAP + 12
    pen.rectangle((left, top, left + CELL * FRAMES - 1, top + lane * len(windows) - 1), BED, GRID if whole else None)
    for number, (window, weights) in enumerate(windows):
        y, hue = top + number * lane, style.HUES[number % len(style.HUES)]
        for frame, weight in zip(window, weights, strict=True):
            x = left + frame * CELL
            pen.rectangle((x, y + 2, x + CELL - 2, y + lane - 3), style.dim(hue, weight))
        if 0 in window and FRAMES - 1 in window and window[0] > window[-1]:
            _draw_arrows(pen, left, y + lane / 2 - 1, hue)


def _draw_arrows(pen, left: float, y: float, hue) -> None:
    for x in (left - 11, left + CELL * FRAMES + 2):
        _draw_arrow(pen, x, y, hue)


def _draw_arrow(pen, x: float, y: float, hue) -> None:
    pen.polygon([(x, y - 6), (x + 9, y), (x, y + 6)], hue)
