"""Pictures of motion modules for the help panel: the names of their sites, and how much each changes in every step."""

from collections.abc import Sequence
from pathlib import Path

from diagrams.drawing import BLUE, FAINT, GREEN, ORANGE, PAPER, TEXT, pack, style, write
from PIL import Image

from .animation import GAP, LABEL, NOTE, PANEL
from .clip_pictures import CIRCLE
from .clips import Shot, Studio

LEVELS, LEVEL, TOP = 4, 56, 92
BOX, SPACE = (66, 40), 8
CELL_HEIGHT, LABEL_WIDTH, HEADER = 24, 104, 88
COUNTS = ("SD1.5: 20; with mid.0 (v2 and its kin): 21", "SDXL: 15, three levels and no mid")


def draw_sites(file: Path) -> None:
    """Draw the U of the UNet: a box is a motion module, named after its column, its level and its place."""
    page = Image.new("RGB", (PANEL, TOP + (LEVELS + 1) * LEVEL + 82), PAPER)
    pen, right = style.Pen(page), PANEL - GAP - 3 * (BOX[0] + SPACE) + SPACE
    write(pen, (GAP, 12), "Where motion modules run", TEXT, LABEL)
    for name, left, hue in (("down.", GAP, BLUE), ("up.", right, GREEN)):
        write(pen, (left, TOP - 34), name, hue, LABEL)
    for level in range(LEVELS):
        y, up = TOP + level * LEVEL, LEVELS - 1 - level
        _draw_boxes(pen, GAP, y, [f"{level}.{index}" for index in range(2)], BLUE)
        _draw_boxes(pen, right, y, [f"{up}.{index}" for index in range(3)], GREEN)
    bottom = TOP + LEVELS * LEVEL
    write(pen, (PANEL / 2 - 104, bottom + 6), "mid.", ORANGE, LABEL)
    _draw_boxes(pen, PANEL / 2 - 48, bottom, ["0"], ORANGE)
    for line, text in enumerate(COUNTS):
        write(pen, (GAP, bottom + 60 + line * 32), text, FAINT, NOTE)
    page.save(file, optimize=True)


def _draw_boxes(pen, left: float, top: float, names: Sequence[str], hue) -> None:
    for number, name in enumerate(names):
        x = left + number * (BOX[0] + SPACE)
        pen.rounded_rectangle((x, top, x + BOX[0], top + BOX[1]), 6, hue)
        write(pen, (x + BOX[0] / 2, top + BOX[1] / 2), name, PAPER, NOTE, "mm")


def draw_change(studio: Studio, file: Path) -> None:
    """Draw a heat map of the change of every motion module in every step of a run."""
    short_name = pack("motion_modules.unet.site_patterns").short_name
    report = studio.report(Shot(CIRCLE))
    rows = {short_name(site["site"]): [step["change"] for step in site["steps"]] for site in report["sites"]}
    largest, steps = max(map(max, rows.values())), max(map(len, rows.values()))
    page = Image.new("RGB", (PANEL, HEADER + CELL_HEIGHT * len(rows) + 44), PAPER)
    pen, width = style.Pen(page), (PANEL - LABEL_WIDTH - GAP) / steps
    write(pen, (GAP, 10), "Change by each motion module", TEXT, LABEL)
    write(pen, (GAP, 46), f"dark: 0, bright: {largest:.2f} of its input", FAINT, NOTE)
    for row, (name, values) in enumerate(rows.items()):
        y = HEADER + row * CELL_HEIGHT
        write(pen, (LABEL_WIDTH - 10, y + CELL_HEIGHT / 2 - 1), name, TEXT, 20, "rm")
        for step, value in enumerate(values):
            x = LABEL_WIDTH + step * width
            pen.rectangle((x, y, x + width - 3, y + CELL_HEIGHT - 3), style.pick_heat(value, largest))
    write(pen, ((LABEL_WIDTH + PANEL) / 2, page.height - 36), f"steps 0 to {steps - 1}", FAINT, NOTE, "ma")
    page.save(file, optimize=True)
