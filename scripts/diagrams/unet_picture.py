"""Where each motion module sits in the UNet: its blocks as they run, with their layers."""

from collections.abc import Sequence
from dataclasses import asdict

from PIL import Image, ImageDraw

from . import full_size
from .drawing import (
    BLUE,
    FAINT,
    GRID,
    MARGIN,
    ORANGE,
    SMALL_SIZE,
    TEXT,
    TEXT_SIZE,
    box,
    down_arrow,
    page,
    right_arrow,
    write,
)
from .full_size import Block

WIDTH, TOP, LEVEL, ROW, BOX = 1320, 168, 172, 38, (78, 28)
TITLE = "Where motion modules sit: the UNet of Stable Diffusion 1.5"
REMARK = (
    "A row is a block, and its layers run from left to right; ComfyUI counts the blocks. In input blocks the picture "
    "shrinks level by level, in output blocks it grows again; what input blocks give also goes across to output blocks "
    "of its size. A motion module stands behind the spatial attention of its block, or behind the residual block where "
    "there is none, and before the picture is resized."
)
STEEL = (72, 84, 110)
NAMES = {
    "ResBlock": ("residual", GRID),
    "SpatialTransformer": ("attention", ORANGE),
    "Downsample": ("shrink", STEEL),
    "Upsample": ("grow", STEEL),
    "Conv2d": ("first conv", STEEL),
}
DOWN, UP = 200, 724


def data() -> list:
    return [asdict(block) for block in full_size.blocks()]


def draw() -> Image.Image:
    blocks = full_size.blocks()
    levels = max(_level(block) for block in blocks if block.site) + 1
    height = TOP + levels * LEVEL + 60
    picture, pen = page(WIDTH, height, TITLE, REMARK)
    for level in range(levels):
        _level_bed(pen, level, next(b for b in blocks if b.site and _level(b) == level))
    _half(pen, DOWN, "down", _at_levels([block for block in blocks if block.half == "input"]))
    _half(pen, UP, "up", _at_levels([block for block in blocks if block.half == "output"]))
    _middle(pen, TOP + levels * LEVEL + 8, next(block for block in blocks if block.half == "middle"))
    return picture


def _level(block: Block) -> int:
    return block.shrinking.bit_length() - 1


def _at_levels(blocks: Sequence[Block]) -> list[tuple[int, Block]]:
    """Each block with its level; one without a site belongs to the level before it."""
    found, level = [], 0
    for block in blocks:
        level = _level(block) if block.site else level
        found.append((level, block))
    return found


def _level_bed(pen: ImageDraw.ImageDraw, level: int, block: Block) -> None:
    top = TOP + level * LEVEL
    pen.rounded_rectangle((MARGIN, top, WIDTH - MARGIN, top + LEVEL - 12), 8, (32, 35, 40), GRID)
    size = full_size.LATENT // block.shrinking
    for number, line in enumerate((f"level {level}", f"{size} x {size}", f"{block.channels} channels")):
        write(pen, (MARGIN + 16, top + 20 + 26 * number), line, TEXT if number == 0 else FAINT, TEXT_SIZE)


def _half(pen: ImageDraw.ImageDraw, left: int, half: str, blocks: Sequence[tuple[int, Block]]) -> None:
    rows: dict[int, int] = {}
    for level, block in blocks:
        row = rows.get(level, 0)
        rows[level] = row + 1
        below = [each for other, each in blocks if other == level]
        place = row if half == "down" else len(below) - 1 - row
        top = TOP + level * LEVEL + 6 + place * ROW
        _block(pen, left, top, block)
    _flow(pen, left - 14, half, len(rows))


def _flow(pen: ImageDraw.ImageDraw, x: int, half: str, levels: int) -> None:
    ends = (TOP + 10, TOP + levels * LEVEL - 22)
    down_arrow(pen, x, *(ends if half == "down" else ends[::-1]))


def _block(pen: ImageDraw.ImageDraw, left: float, top: float, block: Block) -> None:
    x = left
    drawn = False
    for kind in block.layers:
        if not drawn and block.site and kind in ("Upsample", "Downsample"):
            x, drawn = _motion(pen, x, top, block), True
        name, hue = NAMES[kind]
        box(pen, x, top, *BOX, name, hue)
        x += BOX[0] + 5
    if block.site and not drawn:
        x = _motion(pen, x, top, block)
    write(pen, (x + 4, top + BOX[1] / 2), f"{block.half} {block.number}", FAINT, SMALL_SIZE, "lm")


def _motion(pen: ImageDraw.ImageDraw, x: float, top: float, block: Block) -> float:
    """Named as in files, without what all of the names have; returns where the next box begins."""
    half, level, _, number = block.site.split(".")
    width = 1.9 * BOX[0]
    box(pen, x, top, width, BOX[1], f"motion {half.removesuffix('_blocks')} {level}.{number}", BLUE)
    return x + width + 5


def _middle(pen: ImageDraw.ImageDraw, top: int, block: Block) -> None:
    """The module stands behind the spatial attention, before the second residual block."""
    x = DOWN + 24
    right_arrow(pen, DOWN - 14, x - 8, top + 14)
    for kind in block.layers:
        name, hue = NAMES[kind]
        box(pen, x, top, *BOX, name, hue)
        x += BOX[0] + 5
        if kind == "SpatialTransformer":
            box(pen, x, top, BOX[0] * 1.4, BOX[1], "motion mid", BLUE)
            x += BOX[0] * 1.4 + 5
    right_arrow(pen, x + 4, UP - 20, top + 14)
    remark = f"{block.half} {block.number}; motion models of AnimateDiff v1 and v3 have no module here"
    write(pen, (UP, top + 14), remark, FAINT, SMALL_SIZE, "lm")
