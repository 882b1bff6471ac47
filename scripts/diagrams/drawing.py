"""Boxes, arrows and shapes, in the style of the pack's figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from host.in_process import pack
from PIL import ImageDraw

from .full_size import Shape

figure, style = pack("inspection.figures.figure"), pack("inspection.figures.style")
PAPER, BED, GRID, TEXT, FAINT, MARGIN = style.PAPER, style.BED, style.GRID, style.TEXT, style.FAINT, style.MARGIN
BLUE, ORANGE, GREEN, PINK = style.HUES
TEXT_SIZE, SMALL_SIZE = 18, 15
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
    """Dimension of a tensor: its colour says what it counts, `label` stands below."""

    kind: str
    label: str


def start_page(width: int, height: int, title: str, remark: str):
    """Begin a picture of this size with its title and remark; return it, and a pen that draws on it."""
    room = height - figure.measure_header(remark, width) - MARGIN // 2
    picture = figure.draw_picture(title, remark, [figure.leave_room(room)], width)
    return picture, style.Pen(picture)


def write(pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour, size: int, anchor="la") -> None:
    pen.text(place, text, colour, style.load_font(size), anchor=anchor)


def draw_box(pen: ImageDraw.ImageDraw, left: float, top: float, width: float, height: float, text: str, hue) -> None:
    """Draw a filled box with its text in the middle, dark on light colours."""
    pen.rounded_rectangle((left, top, left + width, top + height), 5, hue)
    dark = sum(hue) > 300
    write(pen, (left + width / 2, top + height / 2), text, PAPER if dark else TEXT, SMALL_SIZE, "mm")


def draw_down_arrow(pen: ImageDraw.ImageDraw, x: float, top: float, bottom: float, hue=FAINT) -> None:
    tip = 6 if bottom > top else -6
    pen.line((x, top, x, bottom - tip), hue, 2)
    pen.polygon([(x - 5, bottom - tip), (x + 5, bottom - tip), (x, bottom)], hue)


def draw_right_arrow(pen: ImageDraw.ImageDraw, left: float, right: float, y: float, hue=FAINT) -> None:
    pen.line((left, y, right - 6, y), hue, 2)
    pen.polygon([(right - 6, y - 5), (right - 6, y + 5), (right, y)], hue)


def draw_shape(pen: ImageDraw.ImageDraw, left: float, top: float, shape: Shape, axes: Sequence[Axis]) -> None:
    """Draw a tensor as one coloured box for each dimension."""
    for number, (size, axis) in enumerate(zip(shape, axes, strict=True)):
        x = left + number * (CHIP + 4)
        draw_box(pen, x, top, CHIP, CHIP_HEIGHT, str(size), HUE_OF[axis.kind])
        write(pen, (x + CHIP / 2, top + CHIP_HEIGHT + 4), axis.label, FAINT, SMALL_SIZE, "ma")
