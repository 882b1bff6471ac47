"""Figures: a title, a remark, and panels from top to bottom, as a picture or as an IMAGE."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy
import torch
from PIL import Image

from .style import (
    FAINT,
    LINE_HEIGHT,
    MARGIN,
    NUMBER_SIZE,
    PAPER,
    TEXT,
    TEXT_SIZE,
    TITLE_SIZE,
    Box,
    Pen,
    load_font,
    measure_text,
    wrap_text,
)

WIDTH = 1280
HEADING = 44  # height of a panel's title
GAP = 28  # between panels side by side


@dataclass(frozen=True)
class Panel:
    """A part of a figure, `height` pixels high; `draw(pen, box)` draws it inside of its box."""

    height: int
    draw: Callable[[Pen, Box], None]


def draw_figure(title: str, remark: str, panels: Sequence[Panel], width: int = WIDTH) -> torch.Tensor:
    """Draw a figure as an IMAGE `[1, height, width, 3]` from 0 to 1."""
    picture = draw_picture(title, remark, panels, width)
    return torch.from_numpy(numpy.asarray(picture).astype(numpy.float32) / 255)[None]


def draw_picture(title: str, remark: str, panels: Sequence[Panel], width: int = WIDTH) -> Image.Image:
    """Draw a figure: `title` in large letters, `remark` wrapped below it, then `panels` from top to bottom."""
    top = measure_header(remark, width)
    picture = Image.new("RGB", (width, top + sum(panel.height for panel in panels) + MARGIN // 2), PAPER)
    pen = Pen(picture)
    pen.text((MARGIN, MARGIN - 6), title, TEXT, load_font(TITLE_SIZE))
    for number, line in enumerate(_wrap_remark(remark, width)):
        pen.text((MARGIN, MARGIN + 32 + LINE_HEIGHT * number), line, FAINT, load_font(TEXT_SIZE))
    for panel in panels:
        panel.draw(pen, (MARGIN, top, width - MARGIN, top + panel.height))
        top += panel.height
    return picture


def measure_header(remark: str, width: int = WIDTH) -> int:
    """Return the height of a figure's title and remark, the margin above them included."""
    return MARGIN + 44 + LINE_HEIGHT * len(_wrap_remark(remark, width))


def draw_heading(pen: Pen, box: Box, title: str, unit: str) -> None:
    """Write the title of a panel, and after it the unit of its numbers."""
    pen.text((box[0], box[1] + 15), title, TEXT, load_font(TEXT_SIZE), anchor="lm")
    x = box[0] + measure_text(title, TEXT_SIZE) + 14
    pen.text((x, box[1] + 16), unit, FAINT, load_font(NUMBER_SIZE), anchor="lm")


def join_panels(*panels: Panel) -> Panel:
    """Put panels of equal width side by side."""

    def draw(pen: Pen, box: Box) -> None:
        width = (box[2] - box[0] - GAP * (len(panels) - 1)) / len(panels)
        for number, panel in enumerate(panels):
            left = box[0] + int(number * (width + GAP))
            panel.draw(pen, (left, box[1], left + int(width), box[1] + panel.height))

    return Panel(max(panel.height for panel in panels), draw)


def leave_room(height: int) -> Panel:
    """Leave `height` pixels empty."""
    return Panel(height, lambda pen, box: None)


def stack_pages(pages: Sequence[torch.Tensor]) -> torch.Tensor:
    """Stack IMAGEs of one width as a batch; lower ones are filled up at the bottom."""
    height = max(page.shape[1] for page in pages)
    return torch.cat([_fill_up(page, height) for page in pages])


def _fill_up(page: torch.Tensor, height: int) -> torch.Tensor:
    rest = page[:, -1:].expand(-1, height - page.shape[1], -1, -1)
    return torch.cat((page, rest), dim=1)


def _wrap_remark(remark: str, width: int) -> list[str]:
    return wrap_text(remark, width - 2 * MARGIN)
