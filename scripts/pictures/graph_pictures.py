"""Pictures of nodes and files, joined from top to bottom, for the help panel."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diagrams.drawing import BED, BLUE, FAINT, GREEN, GRID, ORANGE, PAPER, TEXT, draw_down_arrow, style, write
from PIL import Image

from .animation import GAP, LABEL, NOTE, PANEL

BOX_HEIGHT, SPACE = 78, 44


@dataclass(frozen=True)
class Item:
    """A node or a file, with a remark below its name; `hue` is the colour of its edge."""

    name: str
    remark: str
    hue: tuple[int, ...] = GRID


Row = Sequence[Item]
APPLY = Item("Apply Motion Model", "model, motion_model")


def draw_loading(file: Path) -> None:
    """Draw the way of a motion model from its file to the sampler."""
    rows = [
        [Item("v3_sd15_mm.ckpt", "in models/animatediff_models", ORANGE)],
        [Item("Load Checkpoint", "SD1.5 or SDXL"), Item("Load Motion Model", "family: auto", GREEN)],
        [APPLY],
        [Item("KSampler", "16 latents as one clip")],
    ]
    _draw_rows(rows, {0: (1,), 1: (0, 1), 2: (0,)}).save(file, optimize=True)


def draw_loras(file: Path) -> None:
    """Draw two motion LoRAs between a motion model and the node that applies it."""
    rows = [
        [Item("Load Motion Model", "mm_sd_v15_v2.ckpt")],
        [Item("Motion LoRA", "v2_lora_ZoomIn.ckpt, strength 1", GREEN)],
        [Item("Motion LoRA", "v2_lora_PanLeft.ckpt, strength 0.7", GREEN)],
        [APPLY],
    ]
    _draw_rows(rows, {0: (0,), 1: (0,), 2: (0,)}).save(file, optimize=True)


def draw_saving(file: Path) -> None:
    """Draw the way of a motion model to a file, and back into a workflow."""
    rows = [
        [Item("Save Motion Model", "from any node with a motion model", GREEN)],
        [Item("loom_00001_.safetensors", "in output/animatediff_models", ORANGE)],
        [Item("loom_00001_.safetensors", "moved to models/animatediff_models", ORANGE)],
        [Item("Load Motion Model", "press R to list the file")],
    ]
    _draw_rows(rows, {0: (0,), 1: (0,), 2: (0,)}).save(file, optimize=True)


def _draw_rows(rows: Sequence[Row], arrows: dict[int, Sequence[int]]) -> Image.Image:
    """Draw rows of items; `arrows` are the columns of a row from which an arrow leads down."""
    page = Image.new("RGB", (PANEL, 2 * GAP + len(rows) * (BOX_HEIGHT + SPACE) - SPACE), PAPER)
    pen = style.Pen(page)
    for number, row in enumerate(rows):
        top = GAP + number * (BOX_HEIGHT + SPACE)
        columns = max(len(row), 1)
        width = (PANEL - GAP * (columns + 1)) / columns
        for column, item in enumerate(row):
            _draw_item(pen, (GAP + column * (width + GAP), top), width, item)
        for column in arrows.get(number, ()):
            wide = max(columns, column + 1)
            x = GAP + (column + 0.5) * (PANEL - GAP) / wide - GAP / 2
            draw_down_arrow(pen, x, top + BOX_HEIGHT + 6, top + BOX_HEIGHT + SPACE - 6, BLUE)
    return page


def _draw_item(pen, place: tuple[float, float], width: float, item: Item) -> None:
    left, top = place
    pen.rounded_rectangle((left, top, left + width, top + BOX_HEIGHT), 8, BED, item.hue, 3)
    write(pen, (left + width / 2, top + 26), item.name, TEXT, LABEL, "mm")
    write(pen, (left + width / 2, top + 56), item.remark, FAINT, NOTE, "mm")
