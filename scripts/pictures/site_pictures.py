"""Pictures of motion modules for the help panel: the names of their sites, and how much each changes in every step."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from diagrams.drawing import BED, BLUE, FAINT, GREEN, GRID, ORANGE, PAPER, TEXT, pack, style, write
from PIL import Image

from .animation import GAP, LABEL, NOTE, PANEL
from .clip_pictures import CIRCLE
from .clips import Shot, Studio

LEVELS, LEVEL, TOP = 4, 56, 92
BOX, SPACE = (66, 40), 8
CELL_HEIGHT, LABEL_WIDTH, HEADER = 24, 104, 88
SELECTION = "down.1, up.*, mid"
SITES = [
    *(f"down.{level}.{index}" for level in range(LEVELS) for index in range(2)),
    "mid.0",
    *(f"up.{level}.{index}" for level in range(LEVELS) for index in range(3)),
]
COUNTS = ("SD1.5: 20; with mid.0 (v2 and its kin): 21", "SDXL: 15, three levels and no mid")


def draw_sites(file: Path) -> None:
    """Draw the U of the UNet with a motion module at every site."""
    _draw_unet("Where motion modules run", COUNTS).save(file, optimize=True)


def draw_selection(file: Path) -> None:
    """Draw the U of the UNet with motion modules at the sites that an example of `sites` selects."""
    _draw_unet(f"sites: {SELECTION}", [], SELECTION).save(file, optimize=True)


def _draw_unet(title: str, remarks: Sequence[str], patterns: str = "*") -> Image.Image:
    """Draw a box for each site, named after its column, its level and its place; filled if `patterns` select it."""
    page = Image.new("RGB", (PANEL, TOP + (LEVELS + 1) * LEVEL + 20 + 32 * len(remarks)), PAPER)
    pen, right = style.Pen(page), PANEL - GAP - 3 * (BOX[0] + SPACE) + SPACE
    write(pen, (GAP, 12), title, TEXT, LABEL)
    chosen = pack("motion_modules.unet.site_patterns").sites_like(patterns, SITES, "SD1.5")
    for name, left, hue in (("down", GAP, BLUE), ("up", right, GREEN)):
        write(pen, (left, TOP - 34), f"{name}.", hue, LABEL)
        for level, site in enumerate(f"{name}.{level}" for level in range(LEVELS)):
            row = level if name == "down" else LEVELS - 1 - level
            places = [each for each in SITES if each.startswith(f"{site}.")]
            _draw_boxes(pen, (left, TOP + row * LEVEL), {each: each in chosen for each in places}, hue)
    bottom = TOP + LEVELS * LEVEL
    write(pen, (PANEL / 2 - 104, bottom + 6), "mid.", ORANGE, LABEL)
    _draw_boxes(pen, (PANEL / 2 - 48, bottom), {"mid.0": "mid.0" in chosen}, ORANGE)
    for line, text in enumerate(remarks):
        write(pen, (GAP, bottom + 60 + line * 32), text, FAINT, NOTE)
    return page


def _draw_boxes(pen, place: tuple[float, float], sites: Mapping[str, bool], hue) -> None:
    """Draw boxes from left to right with the numbers of `sites`, filled or empty."""
    for number, (site, filled) in enumerate(sites.items()):
        x, y = place[0] + number * (BOX[0] + SPACE), place[1]
        pen.rounded_rectangle((x, y, x + BOX[0], y + BOX[1]), 6, hue if filled else BED, None if filled else GRID)
        name = site.partition(".")[2]
        write(pen, (x + BOX[0] / 2, y + BOX[1] / 2), name, PAPER if filled else FAINT, NOTE, "mm")


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
