"""Panels with curves over frames."""

from collections.abc import Sequence
from dataclasses import dataclass

from .figure import HEADING, Panel, draw_heading
from .style import (
    BED,
    FAINT,
    GRID,
    NUMBER_SIZE,
    TEXT,
    Box,
    Colour,
    Pen,
    format_number,
    load_font,
    measure_text,
    place_ticks,
    round_up,
)

MAX_DOTTED = 64  # points of a curve; with more of them dots would touch


@dataclass(frozen=True)
class Curve:
    """A named curve through `values` at x = `start`, `start` + 1, ...

    A value that belongs to the step from a frame to the next lies halfway between them: `start` 0.5.
    """

    name: str
    values: Sequence[float]
    hue: Colour
    start: float = 0.0


@dataclass(frozen=True)
class Mark:
    """Vertical lines at `x`, or with `level` a dashed horizontal line at that height."""

    name: str
    hue: Colour
    x: tuple[float, ...] = ()
    level: float | None = None


@dataclass(frozen=True)
class LinePlot:
    """Curves in one panel, x from 0 to `last`, y from 0 to the largest value."""

    title: str
    unit: str
    curves: Sequence[Curve]
    marks: Sequence[Mark] = ()
    last: int = 1
    x_label: str = "frame"

    def panel(self, height: int = 300) -> Panel:
        return Panel(height, self._draw)

    @property
    def top(self) -> float:
        levels = [mark.level for mark in self.marks if mark.level is not None]
        return round_up(max([*levels, *(value for curve in self.curves for value in curve.values)], default=1.0))

    def _draw(self, pen: Pen, box: Box) -> None:
        area = (box[0] + 70, box[1] + HEADING, box[2] - 12, box[3] - 50)
        draw_heading(pen, box, self.title, self.unit)
        _draw_legend(pen, box[2], box[1] + 15, [*self.curves, *(mark for mark in self.marks if mark.x or mark.level)])
        pen.rectangle(area, BED)
        axes = _Axes(area, max(1, self.last), self.top)
        axes.draw_scales(pen, self.x_label)
        for mark in self.marks:
            axes.draw_mark(pen, mark)
        for curve in self.curves:
            axes.draw_curve(pen, curve)


@dataclass(frozen=True)
class _Axes:
    """Coordinates of a plot whose bed fills `box`."""

    box: Box
    last: int
    top: float

    def x(self, value: float) -> float:
        return self.box[0] + 12 + value / self.last * (self.box[2] - self.box[0] - 24)

    def y(self, value: float) -> float:
        return self.box[3] - value / self.top * (self.box[3] - self.box[1])

    def draw_scales(self, pen: Pen, x_label: str) -> None:
        small = load_font(NUMBER_SIZE)
        for part in range(5):
            value = self.top * part / 4
            pen.line((self.box[0], self.y(value), self.box[2], self.y(value)), GRID)
            pen.text((self.box[0] - 8, self.y(value)), format_number(value), TEXT, small, anchor="rm")
        for number in place_ticks(self.last, self.x(1) - self.x(0)):
            pen.text((self.x(number), self.box[3] + 6), str(number), TEXT, small, anchor="mt")
        pen.text(((self.box[0] + self.box[2]) / 2, self.box[3] + 26), x_label, FAINT, small, anchor="mt")

    def draw_mark(self, pen: Pen, mark: Mark) -> None:
        for x in mark.x:
            pen.line((self.x(x), self.box[1], self.x(x), self.box[3]), mark.hue)
        if mark.level is not None:
            for start in range(self.box[0], self.box[2] - 8, 16):
                pen.line((start, self.y(mark.level), start + 8, self.y(mark.level)), mark.hue, 2)

    def draw_curve(self, pen: Pen, curve: Curve) -> None:
        points = [(self.x(curve.start + number), self.y(value)) for number, value in enumerate(curve.values)]
        pen.line(points, curve.hue, 3, joint="curve")
        if len(points) <= MAX_DOTTED:
            for x, y in points:
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), curve.hue)


def _draw_legend(pen: Pen, right: float, middle: float, entries: Sequence[Curve | Mark]) -> None:
    """Write the names of `entries` from right to left, each after a bar of its colour."""
    for entry in reversed(entries):
        right -= measure_text(entry.name, NUMBER_SIZE)
        pen.text((right, middle), entry.name, FAINT, load_font(NUMBER_SIZE), anchor="lm")
        pen.rectangle((right - 26, middle - 3, right - 8, middle + 3), entry.hue)
        right -= 46
