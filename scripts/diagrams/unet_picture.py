"""Picture of the sites of motion modules in the UNet: its blocks in the order in which they run, with their layers."""

from collections.abc import Sequence
from dataclasses import asdict

from host.in_process import pack
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
    draw_box,
    draw_down_arrow,
    draw_right_arrow,
    start_page,
    write,
)
from .full_size import Block

WIDTH, TOP, LEVEL, ROW, BOX = 1320, 168, 172, 38, (78, 28)
TITLE = "Where motion modules sit: the UNet of Stable Diffusion 1.5"
REMARK = (
    "A row is a block, numbered as in ComfyUI, and its layers run from left to right. Input blocks shrink the picture "
    "level by level, output blocks enlarge it again, and skip connections lead across from input to output blocks. "
    "A motion module runs after the spatial attention of its block, or after the residual block where there is no "
    "attention, and before the picture is resized."
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


def collect_data() -> list:
    """Return what the picture shows, for the check that it is up to date."""
    return [asdict(block) for block in full_size.list_blocks()]


def draw() -> Image.Image:
    blocks = full_size.list_blocks()
    levels = max(_find_level(block) for block in blocks if block.site) + 1
    height = TOP + levels * LEVEL + 60
    picture, pen = start_page(WIDTH, height, TITLE, REMARK)
    for level in range(levels):
        _draw_level(pen, level, next(b for b in blocks if b.site and _find_level(b) == level))
    _draw_half(pen, DOWN, "down", _sort_by_level([block for block in blocks if block.half == "input"]))
    _draw_half(pen, UP, "up", _sort_by_level([block for block in blocks if block.half == "output"]))
    _draw_middle(pen, TOP + levels * LEVEL + 8, next(block for block in blocks if block.half == "middle"))
    return picture


def _find_level(block: Block) -> int:
    return block.shrinking.bit_length() - 1


def _sort_by_level(blocks: Sequence[Block]) -> list[tuple[int, Block]]:
    """Return each block with its level; a block without a site belongs to the level before it."""
    by_level, level = [], 0
    for block in blocks:
        level = _find_level(block) if block.site else level
        by_level.append((level, block))
    return by_level


def _draw_level(pen: ImageDraw.ImageDraw, level: int, block: Block) -> None:
    top = TOP + level * LEVEL
    pen.rounded_rectangle((MARGIN, top, WIDTH - MARGIN, top + LEVEL - 12), 8, (32, 35, 40), GRID)
    size = full_size.LATENT // block.shrinking
    for number, line in enumerate((f"level {level}", f"{size} x {size}", f"{block.channels} channels")):
        write(pen, (MARGIN + 16, top + 20 + 26 * number), line, TEXT if number == 0 else FAINT, TEXT_SIZE)


def _draw_half(pen: ImageDraw.ImageDraw, left: int, half: str, blocks: Sequence[tuple[int, Block]]) -> None:
    rows: dict[int, int] = {}
    for level, block in blocks:
        row = rows.get(level, 0)
        rows[level] = row + 1
        count = sum(other == level for other, _ in blocks)
        place = row if half == "down" else count - 1 - row
        top = TOP + level * LEVEL + 6 + place * ROW
        _draw_block(pen, left, top, block)
    _draw_flow(pen, left - 14, half, len(rows))


def _draw_flow(pen: ImageDraw.ImageDraw, x: int, half: str, levels: int) -> None:
    ends = (TOP + 10, TOP + levels * LEVEL - 22)
    draw_down_arrow(pen, x, *(ends if half == "down" else ends[::-1]))


def _draw_block(pen: ImageDraw.ImageDraw, left: float, top: float, block: Block) -> None:
    x = left
    drawn = False
    for kind in block.layers:
        if not drawn and block.site and kind in ("Upsample", "Downsample"):
            x, drawn = _draw_motion(pen, x, top, block), True
        name, hue = NAMES[kind]
        draw_box(pen, x, top, *BOX, name, hue)
        x += BOX[0] + 5
    if block.site and not drawn:
        x = _draw_motion(pen, x, top, block)
    write(pen, (x + 4, top + BOX[1] / 2), f"{block.half} {block.number}", FAINT, SMALL_SIZE, "lm")


def _draw_motion(pen: ImageDraw.ImageDraw, x: float, top: float, block: Block) -> float:
    """Draw the motion module of a block, with the short name of its site; return where the next box begins."""
    short_name = pack("motion_modules.unet.site_patterns").short_name
    width = 1.9 * BOX[0]
    draw_box(pen, x, top, width, BOX[1], f"motion {short_name(block.site)}", BLUE)
    return x + width + 5


def _draw_middle(pen: ImageDraw.ImageDraw, top: int, block: Block) -> None:
    """Draw the middle block, where the module runs after the spatial attention, before the second residual block."""
    x = DOWN + 24
    draw_right_arrow(pen, DOWN - 14, x - 8, top + 14)
    for kind in block.layers:
        name, hue = NAMES[kind]
        draw_box(pen, x, top, *BOX, name, hue)
        x += BOX[0] + 5
        if kind == "SpatialTransformer":
            draw_box(pen, x, top, BOX[0] * 1.4, BOX[1], "motion mid", BLUE)
            x += BOX[0] * 1.4 + 5
    draw_right_arrow(pen, x + 4, UP - 20, top + 14)
    remark = f"{block.half} {block.number}; motion models of AnimateDiff v1 and v3 have no module here"
    write(pen, (UP, top + 14), remark, FAINT, SMALL_SIZE, "lm")
