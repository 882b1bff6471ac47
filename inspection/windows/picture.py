"""The picture of context windows: frames from left to right, sampling steps from top to bottom."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont

from .preview import GAP, Band, Bar, Preview, remarks, summary, title

Colour = tuple[int, ...]

WIDTH, HEIGHT = (960, 1600), 1200  # least and most; most
MARGIN, LEFT, RIGHT, BOTTOM = 24, 96, 44, 56
LANE = (10, 26)
TITLE_SIZE, TEXT_SIZE, NUMBER_SIZE = 24, 20, 17
LINE, HEAD_LINES, LEGEND = 28, 6, 54
MOST_ROWS = (HEIGHT - MARGIN - HEAD_LINES * LINE - LEGEND - BOTTOM) // LANE[0]
TICKS = [factor * 10**power for power in range(4) for factor in (1, 2, 5)]

PAPER, BED, GRID, TEXT, FAINT = (27, 29, 33), (38, 41, 47), (62, 66, 74), (236, 238, 242), (165, 170, 180)
GREY = (150, 150, 150)
HUES = ((92, 190, 255), (255, 180, 60), (90, 220, 150), (240, 140, 210))
DARKEST = 0.25  # of its hue, for a frame that counts nothing
FAINTEST = 0.1


@dataclass(frozen=True)
class Grid:
    """Where frames and lanes lie on the picture, in pixels."""

    width: int
    top: int
    cell: float
    lane: int
    rows: int

    @property
    def bottom(self) -> int:
        return self.top + self.rows * self.lane

    @property
    def height(self) -> int:
        return self.bottom + BOTTOM

    def columns(self, first: int, last: int) -> tuple[int, int]:
        """First and last column of frames, at least one; cells that are wide enough stand apart."""
        start, end = LEFT + int(first * self.cell), LEFT + int((last + 1) * self.cell) - 1
        return start, max(start, end - (1 if self.cell >= 5 else 0))


def draw(shown: Preview) -> torch.Tensor:
    """`[1, height, width, 3]` from 0 to 1, at most 1600 wide and 1200 high."""
    width = min(max(WIDTH[0], 16 * shown.frames), WIDTH[1])
    lines = _wrapped([summary(shown), *remarks(shown)], width - 2 * MARGIN)
    grid = _grid(shown, width, MARGIN + (len(lines) + 1) * LINE + LEGEND)
    picture = Image.new("RGB", (grid.width, grid.height), PAPER)
    pen = ImageDraw.Draw(picture)
    _head(pen, title(shown), lines)
    _legend(pen, grid.top - LEGEND, shown)
    _frame_axis(pen, grid, shown.frames)
    top = grid.top
    for band in shown.bands:
        _band(pen, grid, band, top, shown.frames)
        top += (band.lanes + GAP) * grid.lane
    return torch.from_numpy(numpy.asarray(picture).astype(numpy.float32) / 255)[None]


def shade(weight: float, hue: Colour) -> Colour:
    """The colour of a frame that counts `weight` in a window: the more, the brighter."""
    return tuple(round(part * (DARKEST + (1 - DARKEST) * weight)) for part in hue)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _grid(shown: Preview, width: int, top: int) -> Grid:
    lane = min(max((HEIGHT - BOTTOM - top) // shown.rows, LANE[0]), LANE[1])
    return Grid(width, top, (width - LEFT - RIGHT) / shown.frames, lane, shown.rows)


def _wrapped(sentences: Sequence[str], width: int) -> list[str]:
    """Lines that are not wider than the picture."""
    font, lines = _font(TEXT_SIZE), []
    for sentence in sentences:
        line = ""
        for word in sentence.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _head(pen: ImageDraw.ImageDraw, heading: str, lines: Sequence[str]) -> None:
    pen.text((MARGIN, MARGIN - 8), heading, TEXT, _font(TITLE_SIZE))
    for number, line in enumerate(lines, 1):
        pen.text((MARGIN, MARGIN - 2 + number * LINE), line, FAINT, _font(TEXT_SIZE))


def _legend(pen: ImageDraw.ImageDraw, top: int, shown: Preview) -> None:
    """What a bar and its brightness mean, and the signs that occur in the picture."""
    middle, x = top + 18, MARGIN
    for step in range(6):
        pen.rectangle((x + 16 * step, top + 9, x + 16 * step + 14, top + 27), shade(step / 5, HUES[0]))
    x = _label(pen, x + 106, middle, "bar = window, bright = counts more")
    bars = [bar for band in shown.bands for bar in band.bars]
    if any(len(bar.spans) > 1 for bar in bars):
        _arrow(pen, x, middle, 9, HUES[1])
        x = _label(pen, x + 20, middle, "wraps around")
    if any(bar.dilation > 1 for bar in bars):
        pen.line((x, middle, x + 39, middle), shade(FAINTEST, HUES[2]))
        for dot in range(3):
            pen.rectangle((x + 16 * dot, top + 9, x + 16 * dot + 7, top + 27), HUES[2])
        _label(pen, x + 50, middle, "every 2nd, 4th ... frame")


def _label(pen: ImageDraw.ImageDraw, x: int, middle: int, text: str) -> int:
    """Where the next sign of the legend begins."""
    pen.text((x, middle), text, FAINT, _font(NUMBER_SIZE), anchor="lm")
    return x + int(_font(NUMBER_SIZE).getlength(text)) + 36


def _frame_axis(pen: ImageDraw.ImageDraw, grid: Grid, frames: int) -> None:
    font = _font(NUMBER_SIZE)
    room = font.getlength(str(frames)) + 14
    apart = next(tick for tick in TICKS if tick * grid.cell >= room)
    numbers = [number for number in range(0, frames, apart) if (frames - 1 - number) * grid.cell >= room]
    for number in [*numbers, frames - 1]:
        x = LEFT + (number + 0.5) * grid.cell
        pen.line((x, grid.top, x, grid.bottom), GRID)
        pen.text((x, grid.bottom + 4), str(number), TEXT, font, anchor="mt")
    pen.text(((LEFT + grid.width - RIGHT) / 2, grid.bottom + 28), "frame", FAINT, font, anchor="mt")
    pen.text((LEFT - 26, grid.top - 12), "step", FAINT, font, anchor="rm")


def _band(pen: ImageDraw.ImageDraw, grid: Grid, band: Band, top: int, frames: int) -> None:
    left, right = grid.columns(0, frames - 1)
    bottom = top + band.lanes * grid.lane - 1
    pen.rectangle((left, top, right, bottom), BED)
    alike = band.first_step == band.last_step
    steps = str(band.first_step) if alike else f"{band.first_step} - {band.last_step}"
    pen.text((LEFT - 26, (top + bottom) / 2), steps, TEXT, _font(min(NUMBER_SIZE, 2 * grid.lane)), anchor="rm")
    for bar in band.bars:
        hue = HUES[bar.number % len(HUES)] if band.divided else GREY
        _bar(pen, grid, bar, top + bar.lane * grid.lane, hue)


def _bar(pen: ImageDraw.ImageDraw, grid: Grid, bar: Bar, top: int, hue: Colour) -> None:
    bottom = top + grid.lane - 2
    middle = (top + bottom) // 2
    if bar.dilation > 1:
        for first, last in bar.spans:
            pen.line((grid.columns(first, first)[0], middle, grid.columns(last, last)[1], middle), shade(FAINTEST, hue))
    for frame, weight in sorted(zip(bar.frames, bar.weights, strict=True), key=lambda pair: pair[1]):
        first, last = grid.columns(frame, frame)
        pen.rectangle((first, top, last, bottom), shade(weight, hue))
    if len(bar.spans) > 1:
        size = max(4, min(9, grid.lane // 2 - 1))
        _arrow(pen, grid.width - RIGHT + 6, middle, size, hue)
        _arrow(pen, LEFT - 6 - size, middle, size, hue)


def _arrow(pen: ImageDraw.ImageDraw, x: int, middle: int, size: int, hue: Colour) -> None:
    pen.polygon([(x, middle - size), (x + size, middle), (x, middle + size)], hue)
