"""Pictures of reports for the help panel: a sampling report, attention between frames, and video metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from diagrams.drawing import BED, BLUE, FAINT, GREEN, GRID, ORANGE, PAPER, PINK, TEXT, pack, style, write
from PIL import Image

from .animation import GAP, LABEL, NOTE, PANEL
from .clip_pictures import CIRCLE, WITHOUT_REFERENCE
from .clips import Shot, Studio

SMALL = 19  # letters of 9.5 pixels in the panel
NAMES_WIDTH, ROW, HEADER = 92, 24, 88
HEADS, HEADS_PER_ROW, HEAD_SITE = 8, 4, "up_blocks.3.motion_modules.2"
FRAMES, PLOT_HEIGHT = 40, 190
METRICS_SHOT = Shot("a blue star moving up", frames=FRAMES, model_nodes=[("LoomContextWindows", WITHOUT_REFERENCE)])


@dataclass(frozen=True)
class Plot:
    """Curves by name and colour, over frames; values that belong to a step lie between two frames."""

    title: str
    curves: dict[str, tuple[Sequence[float], tuple[int, ...]]]
    borders: Sequence[int] = ()


def draw_report(studio: Studio, file: Path) -> None:
    """Draw the parts of a report side by side, with one row for each motion module."""
    sites = studio.report(Shot(CIRCLE))["sites"]
    page = Image.new("RGB", (PANEL, HEADER + ROW * len(sites) + 40), PAPER)
    pen = style.Pen(page)
    write(pen, (GAP, 8), "Sampling report", TEXT, LABEL)
    for row, name in enumerate(map(_short_name, sites)):
        write(pen, (NAMES_WIDTH - 8, HEADER + ROW * (row + 0.5) - 1), name, TEXT, SMALL, "rm")
    width = (PANEL - NAMES_WIDTH) / 4
    for column, title in enumerate(("change", "largest", "time", "memory")):
        write(pen, (NAMES_WIDTH + column * width, HEADER - 32), title, FAINT, SMALL)
    for column, key in enumerate(("change", "largest_out")):
        rows = [[step[key] for step in site["steps"]] for site in sites]
        _draw_heat(pen, NAMES_WIDTH + column * width, width - 12, rows)
    for column, (key, hue) in enumerate({"seconds": BLUE, "peak_bytes": ORANGE}.items(), 2):
        _draw_bars(pen, NAMES_WIDTH + column * width, width - 12, [site[key] for site in sites], hue)
    page.save(file, optimize=True)


def _draw_heat(pen, left: float, width: float, rows: Sequence[Sequence[float]]) -> None:
    largest = max(map(max, rows))
    for row, values in enumerate(rows):
        for step, value in enumerate(values):
            x, y = left + step * width / len(values), HEADER + row * ROW
            pen.rectangle((x, y, x + width / len(values) - 2, y + ROW - 3), style.pick_heat(value, largest))
    write(pen, (left + width / 2, HEADER + ROW * len(rows) + 6), f"{len(rows[0])} steps", FAINT, SMALL, "ma")


def _draw_bars(pen, left: float, width: float, values: Sequence[float], hue: tuple[int, ...]) -> None:
    for row, value in enumerate(values):
        y = HEADER + row * ROW
        pen.rectangle((left, y, left + width, y + ROW - 5), BED)
        pen.rectangle((left, y, left + width * value / max(values), y + ROW - 5), hue)


def draw_attention(studio: Studio, file: Path) -> None:
    """Draw the heads of one attention as squares, with the largest weight and the reach of each."""
    maps = studio.report(Shot(CIRCLE), attention_maps=True, attention_sites=HEAD_SITE)["attention_maps"]
    cell = (PANEL - GAP) / HEADS_PER_ROW
    side = int(cell - GAP)
    page = Image.new("RGB", (PANEL, 56 + 2 * (side + 64)), PAPER)
    pen = style.Pen(page)
    write(pen, (GAP, 10), "largest weight / reach of each head", FAINT, NOTE)
    for head, (weights, reach) in enumerate(zip(maps[0]["weights"], maps[0]["reach"], strict=True)):
        values = numpy.array(weights)
        left, top = int(GAP + head % HEADS_PER_ROW * cell), 56 + head // HEADS_PER_ROW * (side + 64)
        write(pen, (left, top), f"{values.max():.2f} / {reach:.1f}", TEXT, NOTE)
        colours = Image.fromarray(style.map_heat(values / values.max()))
        page.paste(colours.resize((side, side), Image.Resampling.NEAREST), (left, top + 32))
    page.save(file, optimize=True)


def draw_metrics(studio: Studio, file: Path) -> None:
    """Draw the plots of a clip that breaks between context windows, and print its numbers for the page."""
    frames = torch.stack([torch.from_numpy(numpy.asarray(frame) / 255).float() for frame in studio.film(METRICS_SHOT)])
    windows = WITHOUT_REFERENCE["context_length"], WITHOUT_REFERENCE["context_overlap"]
    metrics = pack("inspection.metrics.measure").measure_video(frames, *windows)
    print(pack("inspection.metrics.picture").describe(metrics))
    changes, flickers = ([100 * value for value in values] for values in (metrics.changes, metrics.flickers))
    lightness, chroma = ([colour[index] for colour in metrics.colours] for index in (0, 3))
    plots = [
        Plot("%", {"change": (changes, BLUE), "flicker": (flickers, ORANGE)}, metrics.borders),
        Plot("pixels", {"motion": (metrics.motions, GREEN), "fastest 5 %": (metrics.fastest, ORANGE)}),
        Plot("L*, C*", {"brightness": (lightness, ORANGE), "saturation": (chroma, PINK)}),
    ]
    page = Image.new("RGB", (PANEL, (PLOT_HEIGHT + 44) * len(plots) + 36), PAPER)
    pen = style.Pen(page)
    for number, plot in enumerate(plots):
        _draw_plot(pen, 44 + number * (PLOT_HEIGHT + 44), plot)
    write(pen, (PANEL / 2, page.height - 32), f"frames 0 to {FRAMES - 1}; red: window borders", FAINT, SMALL, "ma")
    page.save(file, optimize=True)


def _draw_plot(pen, top: float, plot: Plot) -> None:
    left, right, bottom = GAP + 44, PANEL - GAP, top + PLOT_HEIGHT
    largest = style.round_up(max(value for values, _ in plot.curves.values() for value in values))
    pen.rectangle((left, top, right, bottom), BED, GRID)
    for value, y in ((largest, top + 10), (0, bottom - 10)):
        write(pen, (left - 6, y), f"{value:g}", FAINT, SMALL, "rm")
    step = (right - left - 16) / (FRAMES - 1)
    for border in plot.borders:
        x = left + 8 + (border + 0.5) * step
        pen.line((x, top, x, bottom), style.ALARM, 2)
    x = left
    write(pen, (right, top - 30), plot.title, FAINT, SMALL, "ra")
    for name, (values, hue) in plot.curves.items():
        start = left + 8 + (0.5 if len(values) < FRAMES else 0) * step
        heights = [bottom - 4 - value / largest * (PLOT_HEIGHT - 12) for value in values]
        pen.line([(start + number * step, y) for number, y in enumerate(heights)], hue, 4, joint="curve")
        write(pen, (x, top - 30), name, hue, NOTE)
        x += style.measure_text(name, NOTE) + 28


def _short_name(site: dict) -> str:
    return pack("motion_modules.unet.site_patterns").short_name(site["site"])
