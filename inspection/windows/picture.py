"""Picture of context windows: a bar for each window over the frames of the clip, step by step from top to bottom."""

from dataclasses import dataclass

import torch

from ..figures.figure import Panel, draw_figure, measure_header
from ..figures.style import (
    BED,
    FAINT,
    GREY,
    GRID,
    HUES,
    LINE_HEIGHT,
    MARGIN,
    NUMBER_SIZE,
    TEXT,
    Box,
    Colour,
    Pen,
    dim,
    load_font,
    measure_text,
    place_ticks,
)
from .preview import GAP, Band, Bar, Preview

MIN_WIDTH, MAX_WIDTH, MAX_HEIGHT = 960, 1600, 1200
FRAME_WIDTH = 16  # of each frame, where the picture may become so wide
MIN_LANE, MAX_LANE = 10, 26  # heights of a bar, with the gap below it
LEFT, RIGHT = 72, 20  # room beside the bars, for numbers of steps and for arrows
LEGEND, FOOT = 54, 44  # heights of what stands above and below the bars
MAX_REMARK_LINES = 5
MAX_ROWS = (MAX_HEIGHT - measure_header("") - MAX_REMARK_LINES * LINE_HEIGHT - LEGEND - FOOT - MARGIN // 2) // MIN_LANE
TRACK = 0.1  # brightness of the line through a window that skips frames


@dataclass(frozen=True)
class _Grid:
    """Place of frames and lanes in `box`, where a frame is `cell` pixels wide and a lane `lane` pixels high."""

    box: Box
    cell: float
    lane: int

    def columns(self, first: int, last: int) -> tuple[int, int]:
        """Return the left and right edge of frames, one pixel wide at least; wide cells have a gap between them."""
        start, end = self.box[0] + int(first * self.cell), self.box[0] + int((last + 1) * self.cell) - 1
        return start, max(start, end - (1 if self.cell >= 5 else 0))


def draw(preview: Preview) -> torch.Tensor:
    """Draw `preview` as an IMAGE `[1, height, width, 3]`, up to 1600 wide and 1200 high."""
    width = min(max(MIN_WIDTH, FRAME_WIDTH * preview.frames), MAX_WIDTH)
    remark = "\n".join([preview.summary, *preview.remarks])
    room = MAX_HEIGHT - measure_header(remark, width) - LEGEND - FOOT - MARGIN // 2
    lane = min(max(room // preview.rows, MIN_LANE), MAX_LANE)
    legend = Panel(LEGEND, lambda pen, box: _draw_legend(pen, box, preview))
    bands = Panel(preview.rows * lane + FOOT, lambda pen, box: _draw_bands(pen, box, preview, lane))
    return draw_figure(preview.title, remark, [legend, bands], width)


def _draw_legend(pen: Pen, box: Box, preview: Preview) -> None:
    """Explain bars, their brightness, and the signs that occur in the picture."""
    x, top, middle = box[0], box[1], box[1] + 18
    for step in range(6):
        pen.rectangle((x + 16 * step, top + 9, x + 16 * step + 14, top + 27), dim(HUES[0], step / 5))
    x = _write_entry(pen, x + 106, middle, "bar = window, brighter = higher weight")
    bars = [bar for band in preview.bands for bar in band.bars]
    if any(len(bar.spans) > 1 for bar in bars):
        _draw_arrow(pen, x, middle, 9, HUES[1])
        x = _write_entry(pen, x + 20, middle, "wraps around")
    if any(bar.dilation > 1 for bar in bars):
        pen.line((x, middle, x + 39, middle), dim(HUES[2], TRACK))
        for dot in range(3):
            pen.rectangle((x + 16 * dot, top + 9, x + 16 * dot + 7, top + 27), HUES[2])
        _write_entry(pen, x + 50, middle, "every 2nd, 4th ... frame")


def _write_entry(pen: Pen, x: int, middle: int, text: str) -> int:
    """Write an entry of the legend; return where the next one begins."""
    pen.text((x, middle), text, FAINT, load_font(NUMBER_SIZE), anchor="lm")
    return x + int(measure_text(text, NUMBER_SIZE)) + 36


def _draw_bands(pen: Pen, box: Box, preview: Preview, lane: int) -> None:
    left, right = box[0] + LEFT, box[2] - RIGHT
    grid = _Grid((left, box[1], right, box[3] - FOOT), (right - left) / preview.frames, lane)
    _draw_frame_axis(pen, grid, preview.frames)
    top = box[1]
    for band in preview.bands:
        _draw_step_band(pen, grid, band, top, preview.frames)
        top += (band.lanes + GAP) * lane


def _draw_frame_axis(pen: Pen, grid: _Grid, frames: int) -> None:
    font, (left, top, right, bottom) = load_font(NUMBER_SIZE), grid.box
    for number in place_ticks(frames - 1, grid.cell, measure_text(str(frames), NUMBER_SIZE) + 14):
        x = left + (number + 0.5) * grid.cell
        pen.line((x, top, x, bottom), GRID)
        pen.text((x, bottom + 4), str(number), TEXT, font, anchor="mt")
    pen.text(((left + right) / 2, bottom + 28), "frame", FAINT, font, anchor="mt")
    pen.text((left - 26, top - 12), "step", FAINT, font, anchor="rm")


def _draw_step_band(pen: Pen, grid: _Grid, band: Band, top: int, frames: int) -> None:
    left, right = grid.columns(0, frames - 1)
    bottom = top + band.lanes * grid.lane - 1
    pen.rectangle((left, top, right, bottom), BED)
    steps = str(band.first_step) if band.first_step == band.last_step else f"{band.first_step} - {band.last_step}"
    font = load_font(min(NUMBER_SIZE, 2 * grid.lane))
    pen.text((grid.box[0] - 26, (top + bottom) / 2), steps, TEXT, font, anchor="rm")
    for bar in band.bars:
        hue = HUES[bar.number % len(HUES)] if band.divided else GREY
        _draw_bar(pen, grid, bar, top + bar.lane * grid.lane, hue)


def _draw_bar(pen: Pen, grid: _Grid, bar: Bar, top: int, hue: Colour) -> None:
    bottom = top + grid.lane - 2
    middle = (top + bottom) // 2
    if bar.dilation > 1:
        for first, last in bar.spans:
            pen.line((grid.columns(first, first)[0], middle, grid.columns(last, last)[1], middle), dim(hue, TRACK))
    frames = sorted(zip(bar.frames, bar.weights, strict=True), key=lambda pair: pair[1])
    for (left, right), weight in {grid.columns(frame, frame): weight for frame, weight in frames}.items():
        pen.rectangle((left, top, right, bottom), dim(hue, weight))
    if len(bar.spans) > 1:
        size = max(4, min(9, grid.lane // 2 - 1))
        _draw_arrow(pen, grid.box[2] + 6, middle, size, hue)
        _draw_arrow(pen, grid.box[0] - 6 - size, middle, size, hue)


def _draw_arrow(pen: Pen, x: int, middle: int, size: int, hue: Colour) -> None:
    pen.polygon([(x, middle - size), (x + size, middle), (x, middle + size)], hue)
