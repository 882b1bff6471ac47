"""Pictures of numbers: a title, a line of explanation, and panels one below another, as an IMAGE."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, ...]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels

WIDTH, MARGIN = 1280, 24
TITLE_SIZE, TEXT_SIZE, NUMBER_SIZE = 26, 19, 16
PAPER, BED, GRID, TEXT, FAINT = (27, 29, 33), (38, 41, 47), (62, 66, 74), (236, 238, 242), (165, 170, 180)
HUES = ((92, 190, 255), (255, 180, 60), (90, 220, 150), (240, 140, 210))
ALARM = (255, 70, 70)
HEAD = 44  # pixels for the title of a panel


class Pen(ImageDraw.ImageDraw):
    """Draws on `picture`, which other pictures can be put into."""

    def __init__(self, picture: Image.Image):
        super().__init__(picture)
        self.picture = picture


@dataclass(frozen=True)
class Panel:
    """A part of a figure: `height` pixels, drawn by `paint(pen, box)` inside its box."""

    height: int
    paint: Callable[[Pen, Box], None]


@dataclass(frozen=True)
class Series:
    """Values at x = 0, 1, 2 ..., or half-way between two of these when they belong to steps."""

    name: str
    values: Sequence[float]
    hue: Colour
    between: bool = False


@dataclass(frozen=True)
class Mark:
    """A vertical line at `x`, or with `level` a horizontal one at that height."""

    name: str
    hue: Colour
    x: tuple[float, ...] = ()
    level: float | None = None


@dataclass(frozen=True)
class Lines:
    """Curves over frames in one panel, from zero up."""

    title: str
    unit: str
    series: Sequence[Series]
    marks: Sequence[Mark] = ()
    last: int = 1
    x_label: str = "frame"

    def panel(self, height: int = 300) -> Panel:
        return Panel(height, self._paint)

    @property
    def top(self) -> float:
        levels = [mark.level for mark in self.marks if mark.level is not None]
        return nice_top(max([*levels, *(value for series in self.series for value in series.values)], default=1.0))

    def _paint(self, pen: Pen, box: Box) -> None:
        left, top, right, bottom = box[0] + 70, box[1] + HEAD, box[2] - 12, box[3] - 50
        heading(pen, box, self.title, self.unit)
        _legend(pen, box[2], box[1] + 15, [*self.series, *(mark for mark in self.marks if mark.x or mark.level)])
        pen.rectangle((left, top, right, bottom), BED)
        axes = _Axes((left, top, right, bottom), max(1, self.last), self.top)
        axes.paint(pen, self.x_label)
        for mark in self.marks:
            axes.mark(pen, mark)
        for series in self.series:
            axes.curve(pen, series)


@dataclass(frozen=True)
class _Axes:
    box: Box
    last: int
    top: float

    def x(self, value: float) -> float:
        return self.box[0] + 12 + value / self.last * (self.box[2] - self.box[0] - 24)

    def y(self, value: float) -> float:
        return self.box[3] - value / self.top * (self.box[3] - self.box[1])

    def paint(self, pen: Pen, x_label: str) -> None:
        small = font(NUMBER_SIZE)
        for part in range(5):
            value = self.top * part / 4
            pen.line((self.box[0], self.y(value), self.box[2], self.y(value)), GRID)
            pen.text((self.box[0] - 8, self.y(value)), short(value), TEXT, small, anchor="rm")
        for number in x_ticks(self.last, self.x(1) - self.x(0)):
            pen.text((self.x(number), self.box[3] + 6), str(number), TEXT, small, anchor="mt")
        pen.text(((self.box[0] + self.box[2]) / 2, self.box[3] + 26), x_label, FAINT, small, anchor="mt")

    def mark(self, pen: Pen, mark: Mark) -> None:
        for x in mark.x:
            pen.line((self.x(x), self.box[1], self.x(x), self.box[3]), mark.hue)
        if mark.level is not None:
            for start in range(self.box[0], self.box[2] - 8, 16):
                pen.line((start, self.y(mark.level), start + 8, self.y(mark.level)), mark.hue, 2)

    def curve(self, pen: Pen, series: Series) -> None:
        shift = 0.5 if series.between else 0.0
        points = [(self.x(number + shift), self.y(value)) for number, value in enumerate(series.values)]
        pen.line(points, series.hue, 3, joint="curve")
        if len(points) <= 64:
            for x, y in points:
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), series.hue)


def figure(title: str, remark: str, panels: Sequence[Panel], width: int = WIDTH) -> torch.Tensor:
    """`[1, height, width, 3]` from 0 to 1."""
    lines = wrapped(remark, width - 2 * MARGIN)
    top = MARGIN + 44 + 26 * len(lines)
    picture = Image.new("RGB", (width, top + sum(panel.height for panel in panels) + MARGIN // 2), PAPER)
    pen = Pen(picture)
    pen.text((MARGIN, MARGIN - 6), title, TEXT, font(TITLE_SIZE))
    for number, line in enumerate(lines):
        pen.text((MARGIN, MARGIN + 32 + 26 * number), line, FAINT, font(TEXT_SIZE))
    for panel in panels:
        panel.paint(pen, (MARGIN, top, width - MARGIN, top + panel.height))
        top += panel.height
    return torch.from_numpy(numpy.asarray(picture).astype(numpy.float32) / 255)[None]


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def heading(pen: Pen, box: Box, title: str, unit: str) -> None:
    """The title of a panel, and behind it what its numbers are."""
    pen.text((box[0], box[1] + 15), title, TEXT, font(TEXT_SIZE), anchor="lm")
    pen.text((box[0] + font(TEXT_SIZE).getlength(title) + 14, box[1] + 16), unit, FAINT, font(NUMBER_SIZE), anchor="lm")


def wrapped(text: str, width: int, size: int = TEXT_SIZE) -> list[str]:
    """Lines of `text` that are not wider than so many pixels."""
    lines: list[str] = []
    for paragraph in filter(None, text.splitlines()):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font(size).getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def nice_top(value: float) -> float:
    """The end of an axis that holds `value`: 1, 2, 4, 6 or 8 times a power of ten, so that its quarters are short."""
    if not value > 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 4, 6, 8, 10) if value <= factor * power * 1.0001)


def x_ticks(last: int, apart: float) -> list[int]:
    """Whole numbers from 0 to `last` that stand at least 48 pixels apart."""
    room = 48 / max(apart, 1e-6)
    step = next(f * 10**p for p in range(9) for f in (1, 2, 5) if f * 10**p >= room)
    return [number for number in range(0, last, step) if last - number >= room] + [last]


def short(value: float) -> str:
    """Three digits, 0.0123 as well as 12,300."""
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _legend(pen: Pen, right: float, middle: float, entries: Sequence[Series | Mark]) -> None:
    for entry in reversed(entries):
        right -= font(NUMBER_SIZE).getlength(entry.name)
        pen.text((right, middle), entry.name, FAINT, font(NUMBER_SIZE), anchor="lm")
        pen.rectangle((right - 26, middle - 3, right - 8, middle + 3), entry.hue)
        right -= 46
