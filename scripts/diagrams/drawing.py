"""Boxes, arrows and shapes, in the colours of the pack's plots."""

from collections.abc import Sequence
from dataclasses import dataclass

from loom_mini.host_tree import pack
from PIL import Image, ImageDraw

from .full_size import Shape

plots = pack("inspection.figures.plots")
PAPER, BED, GRID, TEXT, FAINT = plots.PAPER, plots.BED, plots.GRID, plots.TEXT, plots.FAINT
BLUE, ORANGE, GREEN, PINK = plots.HUES
MARGIN, TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 24, 26, 18, 15
HUE_OF = {
    "frames": BLUE,
    "channels": ORANGE,
    "height": GREEN,
    "width": GREEN,
    "positions": GREEN,
    "words": PINK,
    "heads": GRID,
    "prompts": GRID,
}
CHIP, CHIP_HEIGHT = 96, 30


@dataclass(frozen=True)
class Axis:
    """One dimension of a tensor: the colour says what it counts, `label` stands below."""

    kind: str
    label: str


def page(width: int, height: int, title: str, remark: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(picture)
    write(pen, (MARGIN, MARGIN - 6), title, TEXT, TITLE_SIZE)
    for number, line in enumerate(plots.wrapped(remark, width - 2 * MARGIN, TEXT_SIZE)):
        write(pen, (MARGIN, MARGIN + 34 + 25 * number), line, FAINT, TEXT_SIZE)
    return picture, pen


def write(pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour, size: int, anchor="la") -> None:
    pen.text(place, text, colour, plots.font(size), anchor=anchor)


def box(pen: ImageDraw.ImageDraw, left: float, top: float, width: float, height: float, text: str, hue) -> None:
    """A filled box with its text in the middle, dark on light colours."""
    pen.rounded_rectangle((left, top, left + width, top + height), 5, hue)
    dark = sum(hue) > 300
    write(pen, (left + width / 2, top + height / 2), text, PAPER if dark else TEXT, SMALL_SIZE, "mm")


def down_arrow(pen: ImageDraw.ImageDraw, x: float, top: float, bottom: float, hue=FAINT) -> None:
    tip = 6 if bottom > top else -6
    pen.line((x, top, x, bottom - tip), hue, 2)
    pen.polygon([(x - 5, bottom - tip), (x + 5, bottom - tip), (x, bottom)], hue)


def right_arrow(pen: ImageDraw.ImageDraw, left: float, right: float, y: float, hue=FAINT) -> None:
    pen.line((left, y, right - 6, y), hue, 2)
    pen.polygon([(right - 6, y - 5), (right - 6, y + 5), (right, y)], hue)


def shape_chips(pen: ImageDraw.ImageDraw, left: float, top: float, shape: Shape, axes: Sequence[Axis]) -> None:
    """A tensor as one coloured box for each dimension."""
    for number, (size, axis) in enumerate(zip(shape, axes, strict=True)):
        x = left + number * (CHIP + 4)
        box(pen, x, top, CHIP, CHIP_HEIGHT, str(size), HUE_OF[axis.kind])
        write(pen, (x + CHIP / 2, top + CHIP_HEIGHT + 4), axis.label, FAINT, SMALL_SIZE, "ma")
