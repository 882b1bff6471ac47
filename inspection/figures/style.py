"""Style of all pictures: colours, sizes and fonts, and how text, numbers and ticks are set."""

import math
from functools import cache

import numpy
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, ...]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels

TITLE_SIZE, TEXT_SIZE, NUMBER_SIZE, SMALL_SIZE = 26, 19, 16, 13
LINE_HEIGHT = 26
MARGIN = 24
TICK_SPACING = 48

PAPER, BED, GRID, TEXT, FAINT = (27, 29, 33), (38, 41, 47), (62, 66, 74), (236, 238, 242), (165, 170, 180)
HUES = ((92, 190, 255), (255, 180, 60), (90, 220, 150), (240, 140, 210))
ALARM = (255, 70, 70)
GREY = (150, 150, 150)
HEAT = ((24, 22, 40), (86, 31, 110), (178, 50, 90), (240, 112, 50), (252, 200, 80), (252, 253, 191))
DARKEST = 0.25  # part of a hue that a weight of 0 keeps


class Pen(ImageDraw.ImageDraw):
    """Pillow's drawing object, which also knows its `picture`, for pasting other pictures."""

    def __init__(self, picture: Image.Image):
        super().__init__(picture)
        self.picture = picture


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def measure_text(text: str, size: int) -> float:
    """Return the width of `text` in pixels."""
    return load_font(size).getlength(text)


def wrap_text(text: str, width: int, size: int = TEXT_SIZE) -> list[str]:
    """Break `text` into lines up to `width` pixels wide; ends of lines in `text` stay."""
    lines: list[str] = []
    for paragraph in filter(None, text.splitlines()):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and measure_text(longer, size) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def format_number(value: float) -> str:
    """Return `value` with three digits, such as 0.0123 or 12,300, or as 1e7 and 1e-5 beyond that."""
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def round_up(value: float) -> float:
    """Return the end of an axis that holds `value`: 1, 2, 4, 6 or 8 times a power of ten, so that quarters are short.

    1 for what no axis can hold: zero, negative values, NaN and Inf.
    """
    if not value > 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 4, 6, 8, 10) if value <= factor * power * 1.0001)


def place_ticks(last: int, unit: float, spacing: float = TICK_SPACING) -> list[int]:
    """Return numbers from 0 to `last`, at least `spacing` pixels from each other where 1 is `unit` pixels long."""
    room = spacing / max(unit, 1e-6)
    step = next(f * 10**p for p in range(9) for f in (1, 2, 5) if f * 10**p >= room)
    return [number for number in range(0, last, step) if last - number >= room] + [last]


def dim(hue: Colour, weight: float) -> Colour:
    """Return `hue` at the brightness of `weight`, from 0, dark, to 1."""
    return tuple(round(part * (DARKEST + (1 - DARKEST) * weight)) for part in hue)


def pick_heat(value: float | None, top: float) -> Colour:
    """Return the colour of a value from 0, dark, to `top`, bright; None stays empty, NaN and Inf are red."""
    if value is None:
        return BED
    if not math.isfinite(value):
        return ALARM
    return tuple(map_heat(numpy.array([[value / top if top else 0.0]]))[0, 0].tolist())


def map_heat(parts: numpy.ndarray) -> numpy.ndarray:
    """Return the colours `[..., 3]` of `parts` from 0, dark, to 1, bright."""
    stops = numpy.linspace(0, 1, len(HEAT))
    channels = [numpy.interp(parts, stops, [colour[index] for colour in HEAT]) for index in range(3)]
    return numpy.stack(channels, axis=-1).round().astype(numpy.uint8)
