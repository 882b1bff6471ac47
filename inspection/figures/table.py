"""Panels with one row for each name: numbers as colours in a heat map, or as bars."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from .figure import HEADING, Panel, draw_heading
from .style import (
    BED,
    FAINT,
    HUES,
    NUMBER_SIZE,
    SMALL_SIZE,
    TEXT,
    Box,
    Colour,
    Pen,
    format_number,
    load_font,
    measure_text,
    pick_heat,
    place_ticks,
    round_up,
)

LABEL_WIDTH, ROW_HEIGHT, FOOT = 92, 19, 48
TOP = HEADING + 22  # of the first row
DARK_TEXT = (20, 20, 20)  # on bright cells


@dataclass(frozen=True)
class HeatMap:
    """`values[row][column]` as colours from 0 to the largest; None stays empty, NaN and Inf are red."""

    title: str
    unit: str
    rows: Sequence[str]
    values: Sequence[Sequence[float | None]]
    x_label: str = "step"

    def panel(self, rows: int = 0) -> Panel:
        """Return a panel with room for at least `rows` rows."""
        return _make_panel(max(rows, len(self.rows)), self._draw)

    @property
    def top(self) -> float:
        return max((value for row in self.values for value in row if _is_number(value)), default=0.0)

    def _draw(self, pen: Pen, box: Box) -> None:
        left, top, right = box[0] + LABEL_WIDTH, box[1] + TOP, box[2]
        draw_heading(pen, box, self.title, self.unit)
        _draw_colour_bar(pen, (left, box[1] + HEADING - 4, right, box[1] + HEADING + 8), self.top)
        columns = max(1, max(map(len, self.values), default=1))
        width = (right - left) / columns
        write = self._choose_format(width)
        for number, (name, row) in enumerate(zip(self.rows, self.values, strict=True)):
            y = top + ROW_HEIGHT * number
            _write_label(pen, left, y, name)
            for column, value in enumerate(row):
                cell = (left + int(column * width), y, left + int((column + 1) * width) - 1, y + ROW_HEIGHT - 2)
                pen.rectangle(cell, pick_heat(value, self.top))
                self._write_value(pen, cell, value, write)
        self._write_columns(pen, (left, top + ROW_HEIGHT * len(self.rows), right, box[3]), columns)

    def _write_columns(self, pen: Pen, box: Box, columns: int) -> None:
        width = (box[2] - box[0]) / columns
        for tick in place_ticks(columns - 1, width) if columns > 1 else [0]:
            x = box[0] + (tick + 0.5) * width
            pen.text((x, box[1] + 4), str(tick), TEXT, load_font(SMALL_SIZE), anchor="mt")
        pen.text(((box[0] + box[2]) / 2, box[1] + 22), self.x_label, FAINT, load_font(SMALL_SIZE), anchor="mt")

    def _choose_format(self, width: float) -> Callable[[float], str]:
        """Return the format with the most digits that fits into every cell: three digits, two or none."""
        values = [value for row in self.values for value in row if _is_number(value)]
        for write in (format_number, lambda value: f"{value:.2g}"):
            if all(measure_text(write(value), SMALL_SIZE) + 3 <= width for value in values):
                return write
        return lambda value: ""

    def _write_value(self, pen: Pen, cell: Box, value: float | None, write: Callable[[float], str]) -> None:
        text = "" if value is None else write(value) if math.isfinite(value) else "!"
        colour = DARK_TEXT if value is not None and value > 0.6 * self.top else TEXT
        middle = ((cell[0] + cell[2]) / 2, (cell[1] + cell[3]) / 2)
        pen.text(middle, text, colour, load_font(SMALL_SIZE), anchor="mm")


@dataclass(frozen=True)
class BarChart:
    """A bar for each row, from 0; None is written as -."""

    title: str
    unit: str
    rows: Sequence[str]
    values: Sequence[float | None]
    hue: Colour = HUES[0]

    def panel(self, rows: int = 0) -> Panel:
        """Return a panel with room for at least `rows` rows."""
        return _make_panel(max(rows, len(self.rows)), self._draw)

    def _draw(self, pen: Pen, box: Box) -> None:
        left, top, right = box[0] + LABEL_WIDTH, box[1] + TOP, box[2] - 62
        draw_heading(pen, box, self.title, self.unit)
        whole = round_up(max((value for value in self.values if _is_number(value)), default=1.0))
        for number, (name, value) in enumerate(zip(self.rows, self.values, strict=True)):
            y = top + ROW_HEIGHT * number
            _write_label(pen, left, y, name)
            pen.rectangle((left, y, right, y + ROW_HEIGHT - 3), BED)
            end, text = left, "-"
            if _is_number(value):
                end, text = left + int(value / whole * (right - left)), format_number(value)
                pen.rectangle((left, y, end, y + ROW_HEIGHT - 3), self.hue)
            pen.text((end + 6, y + ROW_HEIGHT / 2 - 1), text, TEXT, load_font(SMALL_SIZE), "lm")


def _make_panel(rows: int, draw: Callable[[Pen, Box], None]) -> Panel:
    return Panel(TOP + ROW_HEIGHT * rows + FOOT, draw)


def _write_label(pen: Pen, right: float, y: float, name: str) -> None:
    pen.text((right - 8, y + ROW_HEIGHT / 2), name, TEXT, load_font(NUMBER_SIZE - 2), anchor="rm")


def _draw_colour_bar(pen: Pen, box: Box, top: float) -> None:
    """Draw the colours from 0 to `top`, with both numbers."""
    for x in range(box[0] + 24, box[2] - 60):
        part = (x - box[0] - 24) / max(1, box[2] - 60 - box[0] - 25)
        pen.line((x, box[1], x, box[3]), pick_heat(part, 1.0))
    middle = (box[1] + box[3]) / 2
    pen.text((box[0] + 16, middle), "0", FAINT, load_font(SMALL_SIZE), anchor="rm")
    pen.text((box[2] - 54, middle), format_number(top), FAINT, load_font(SMALL_SIZE), anchor="lm")


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
