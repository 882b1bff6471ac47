"""Panels of matrices as coloured squares, such as attention between frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from PIL import Image

from .figure import HEADING, Panel, draw_heading
from .style import FAINT, SMALL_SIZE, Box, Pen, load_font, map_heat


@dataclass(frozen=True)
class Matrix:
    """`values` `[rows, columns]` as a square of colours, from 0 to the largest."""

    title: str
    values: numpy.ndarray

    def draw(self, pen: Pen, box: Box) -> None:
        side = min(box[2] - box[0] - 26, box[3] - box[1] - 40)
        left, top = box[0] + 24, box[1] + 22
        pen.text((left, box[1] + 2), self.title, FAINT, load_font(SMALL_SIZE))
        colours = map_heat(self.values / max(float(self.values.max()), 1e-12))
        picture = Image.fromarray(colours).resize((side, side), Image.Resampling.NEAREST)
        pen.picture.paste(picture, (left, top))
        last = str(len(self.values) - 1)
        for text, x, y, anchor in (
            ("0", left - 5, top + 6, "rm"),
            (last, left - 5, top + side - 6, "rm"),
            ("0", left + 4, top + side + 3, "mt"),
            (last, left + side - 6, top + side + 3, "mt"),
        ):
            pen.text((x, y), text, FAINT, load_font(SMALL_SIZE), anchor=anchor)


def tile_matrices(title: str, unit: str, matrices: Sequence[Matrix], columns: int, height: int) -> Panel:
    """Put matrices into rows of `columns`, each `height` pixels high."""

    def draw(pen: Pen, box: Box) -> None:
        draw_heading(pen, box, title, unit)
        width = (box[2] - box[0]) / columns
        for number, matrix in enumerate(matrices):
            left = box[0] + int(number % columns * width)
            top = box[1] + HEADING - 8 + number // columns * height
            matrix.draw(pen, (left, top, left + int(width), top + height))

    return Panel(HEADING + -(-len(matrices) // columns) * height, draw)
