"""Panels of a figure: numbers as colours in a table, and as bars."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy
from PIL import Image

from .plots import (
    ALARM,
    BED,
    FAINT,
    HEAD,
    HUES,
    NUMBER_SIZE,
    TEXT,
    Box,
    Colour,
    Panel,
    Pen,
    font,
    heading,
    nice_top,
    short,
    x_ticks,
)

SCALE = ((24, 22, 40), (86, 31, 110), (178, 50, 90), (240, 112, 50), (252, 200, 80), (252, 253, 191))
LABELS, ROW, FOOT, GAP = 92, 19, 48, 28
SMALL = 13


@dataclass(frozen=True)
class HeatMap:
    """`values[row][column]` as colours from 0 to the largest; None stays empty, NaN and Inf are red."""

    title: str
    unit: str
    rows: Sequence[str]
    values: Sequence[Sequence[float | None]]
    x_label: str = "step"

    def panel(self, rows: int = 0) -> Panel:
        """With room for at least so many rows."""
        return Panel(HEAD + 22 + ROW * max(rows, len(self.rows)) + FOOT, self._paint)

    @property
    def top(self) -> float:
        return max((value for row in self.values for value in row if _is_number(value)), default=0.0)

    def _paint(self, pen: Pen, box: Box) -> None:
        left, top, right = box[0] + LABELS, box[1] + HEAD + 22, box[2]
        heading(pen, box, self.title, self.unit)
        _colour_bar(pen, (left, box[1] + HEAD - 4, right, box[1] + HEAD + 8), self.top)
        columns = max(1, max(map(len, self.values), default=1))
        width = (right - left) / columns
        write = self._written(width)
        for number, (name, row) in enumerate(zip(self.rows, self.values, strict=True)):
            y = top + ROW * number
            pen.text((left - 8, y + ROW / 2), name, TEXT, font(NUMBER_SIZE - 2), anchor="rm")
            for column, value in enumerate(row):
                cell = (left + int(column * width), y, left + int((column + 1) * width) - 1, y + ROW - 2)
                pen.rectangle(cell, shade(value, self.top))
                self._write(pen, cell, value, write)
        bottom = top + ROW * len(self.rows)
        for tick in x_ticks(columns - 1, width) if columns > 1 else [0]:
            pen.text((left + (tick + 0.5) * width, bottom + 4), str(tick), TEXT, font(SMALL), anchor="mt")
        pen.text(((left + right) / 2, bottom + 22), self.x_label, FAINT, font(SMALL), anchor="mt")

    def _written(self, width: float) -> Callable[[float], str]:
        """Three digits, or two, or nothing: the most that has room in every cell."""
        values = [value for row in self.values for value in row if _is_number(value)]
        for write in (short, lambda value: f"{value:.2g}"):
            if all(font(SMALL).getlength(write(value)) + 3 <= width for value in values):
                return write
        return lambda value: ""

    def _write(self, pen: Pen, cell: Box, value: float | None, write: Callable[[float], str]) -> None:
        text = "" if value is None else write(value) if math.isfinite(value) else "!"
        colour = (20, 20, 20) if value is not None and value > 0.6 * self.top else TEXT
        pen.text(((cell[0] + cell[2]) / 2, (cell[1] + cell[3]) / 2), text, colour, font(SMALL), anchor="mm")


@dataclass(frozen=True)
class Bars:
    """One bar for each row, from 0; None is written as -."""

    title: str
    unit: str
    rows: Sequence[str]
    values: Sequence[float | None]
    hue: Colour = HUES[0]

    def panel(self, rows: int = 0) -> Panel:
        return Panel(HEAD + 22 + ROW * max(rows, len(self.rows)) + FOOT, self._paint)

    def _paint(self, pen: Pen, box: Box) -> None:
        left, top, right = box[0] + LABELS, box[1] + HEAD + 22, box[2] - 62
        heading(pen, box, self.title, self.unit)
        whole = nice_top(max((value for value in self.values if _is_number(value)), default=1.0))
        for number, (name, value) in enumerate(zip(self.rows, self.values, strict=True)):
            y = top + ROW * number
            pen.text((left - 8, y + ROW / 2), name, TEXT, font(NUMBER_SIZE - 2), anchor="rm")
            pen.rectangle((left, y, right, y + ROW - 3), BED)
            end = left
            if _is_number(value):
                end = left + int(value / whole * (right - left))
                pen.rectangle((left, y, end, y + ROW - 3), self.hue)
            pen.text((end + 6, y + ROW / 2 - 1), short(value) if _is_number(value) else "-", TEXT, font(SMALL), "lm")


@dataclass(frozen=True)
class Square:
    """A matrix `[rows, columns]` as one coloured square: who takes how much from whom."""

    title: str
    values: numpy.ndarray

    def paint(self, pen: Pen, box: Box) -> None:
        side = min(box[2] - box[0] - 26, box[3] - box[1] - 40)
        left, top = box[0] + 24, box[1] + 22
        pen.text((left, box[1] + 2), self.title, FAINT, font(SMALL))
        colours = _colours(self.values / max(float(self.values.max()), 1e-12))
        picture = Image.fromarray(colours).resize((side, side), Image.Resampling.NEAREST)
        pen.picture.paste(picture, (left, top))
        last = str(len(self.values) - 1)
        for text, x, y, anchor in (
            ("0", left - 5, top + 6, "rm"),
            (last, left - 5, top + side - 6, "rm"),
            ("0", left + 4, top + side + 3, "mt"),
            (last, left + side - 6, top + side + 3, "mt"),
        ):
            pen.text((x, y), text, FAINT, font(SMALL), anchor=anchor)


def side_by_side(*panels: Panel) -> Panel:
    """Panels of equal width in one row."""

    def paint(pen: Pen, box: Box) -> None:
        width = (box[2] - box[0] - GAP * (len(panels) - 1)) / len(panels)
        for number, panel in enumerate(panels):
            left = box[0] + int(number * (width + GAP))
            panel.paint(pen, (left, box[1], left + int(width), box[1] + panel.height))

    return Panel(max(panel.height for panel in panels), paint)


def squares(title: str, unit: str, maps: Sequence[Square], columns: int, height: int) -> Panel:
    """Squares in rows of `columns`, each `height` pixels high."""

    def paint(pen: Pen, box: Box) -> None:
        heading(pen, box, title, unit)
        width = (box[2] - box[0]) / columns
        for number, square in enumerate(maps):
            left = box[0] + int(number % columns * width)
            top = box[1] + HEAD - 8 + number // columns * height
            square.paint(pen, (left, top, left + int(width), top + height))

    return Panel(HEAD + -(-len(maps) // columns) * height, paint)


def shade(value: float | None, top: float) -> Colour:
    """The colour of a value between 0, dark, and `top`, bright."""
    if value is None:
        return BED
    if not math.isfinite(value):
        return ALARM
    return tuple(_colours(numpy.array([[value / top if top else 0.0]]))[0, 0].tolist())


def _colours(parts: numpy.ndarray) -> numpy.ndarray:
    """`[..., 3]` for parts from 0 to 1."""
    places = numpy.linspace(0, 1, len(SCALE))
    channels = [numpy.interp(parts, places, [colour[index] for colour in SCALE]) for index in range(3)]
    return numpy.stack(channels, axis=-1).round().astype(numpy.uint8)


def _colour_bar(pen: Pen, box: Box, top: float) -> None:
    for x in range(box[0] + 24, box[2] - 60):
        part = (x - box[0] - 24) / max(1, box[2] - 60 - box[0] - 25)
        pen.line((x, box[1], x, box[3]), shade(part, 1.0))
    middle = (box[1] + box[3]) / 2
    pen.text((box[0] + 16, middle), "0", FAINT, font(SMALL), anchor="rm")
    pen.text((box[2] - 54, middle), short(top), FAINT, font(SMALL), anchor="lm")


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
