"""Picture of tensor shapes: from prompt to video on the left, inside one motion module on the right."""

from dataclasses import dataclass

from PIL import Image, ImageDraw

from . import full_size
from .drawing import GRID, MARGIN, TEXT, TEXT_SIZE, Axis, draw_down_arrow, draw_shape, start_page, write
from .full_size import Shape

WIDTH, TOP, ROW, COLUMN = 1320, 150, 108, 668
TITLE = "From prompt to video: shapes"
REMARK = (
    "Stable Diffusion 1.5 at 512 x 512 pixels, a clip of 16 frames, with a prompt and a negative prompt. "
    "A box is one dimension of a tensor, and its colour says what it counts."
)
PICTURE = (Axis("frames", "frames"), Axis("channels", "channels"), Axis("height", "height"), Axis("width", "width"))
BATCH = (Axis("frames", "2 x 16 frames"), *PICTURE[1:])
TOKENS = (Axis("positions", "positions"), Axis("frames", "frames"), Axis("channels", "channels"))


@dataclass(frozen=True)
class Row:
    """A tensor and its origin; `leads_on` is False where the next tensor is not computed from it."""

    name: str
    shape: Shape
    axes: tuple[Axis, ...]
    leads_on: bool = True


def list_pipeline() -> list[Row]:
    unet, coarsest = full_size.trace_unet(), "mid_block.motion_modules.0"
    frames, three, height, width = full_size.trace_decoder()
    latents = (full_size.FRAMES, *unet["in"][1:])
    text = (Axis("prompts", "prompt"), Axis("words", "tokens"), Axis("channels", "features"))
    video = (PICTURE[0], PICTURE[2], PICTURE[3], Axis("channels", "colours"))
    return [
        Row("text encoder: what the UNet reads of one prompt", full_size.measure_text(), text, leads_on=False),
        Row("noise: the latents of all frames", latents, PICTURE),
        Row("each step: one batch for both prompts", unet["in"], BATCH),
        Row("UNet: at its first motion module", unet[full_size.FIRST_SITE], BATCH),
        Row("UNet: at its coarsest motion module", unet[coarsest], BATCH),
        Row("UNet: predicted noise", unet["out"], BATCH),
        Row("CFG joins the two halves; the sampler takes a step", latents, PICTURE),
        Row("after the last step: decoded frames", (frames, height, width, three), video),
    ]


def list_module() -> list[Row]:
    shapes = full_size.trace_module()
    heads = (TOKENS[0], Axis("heads", "heads"), TOKENS[1], Axis("channels", "per head"))
    pairs = (TOKENS[0], Axis("heads", "heads"), Axis("frames", "from frame"), Axis("frames", "to frame"))
    return [
        Row("feature map x (one prompt's frames)", shapes["feature map"], PICTURE),
        Row("group norm, frame by frame", shapes["norm"], PICTURE),
        Row("proj_in: every position is a row of frames", shapes["tokens"], TOKENS),
        Row("queries, keys and values in heads", shapes["heads"], heads),
        Row("softmax: frames attend to frames", shapes["attention"], pairs),
        Row("feed-forward, at its widest", shapes["feed-forward"], TOKENS),
        Row("proj_out: the change", shapes["change"], TOKENS),
        Row("x + strength * change", shapes["result"], PICTURE),
    ]


def collect_data() -> list:
    """Return what the picture shows, for the check that it is up to date."""
    return [[row.name, row.shape] for row in [*list_pipeline(), *list_module()]]


def draw() -> Image.Image:
    left, right = list_pipeline(), list_module()
    picture, pen = start_page(WIDTH, TOP + 40 + ROW * max(len(left), len(right)), TITLE, REMARK)
    _draw_column(pen, MARGIN, "Prompt to video", left)
    _draw_column(pen, COLUMN + MARGIN, f"Inside {full_size.FIRST_SITE}", right)
    pen.line((COLUMN, TOP - 14, COLUMN, picture.height - MARGIN), GRID, 2)
    return picture


def _draw_column(pen: ImageDraw.ImageDraw, left: int, heading: str, rows: list[Row]) -> None:
    write(pen, (left, TOP - 22), heading, TEXT, TEXT_SIZE + 2)
    for number, row in enumerate(rows):
        top = TOP + 20 + number * ROW
        write(pen, (left + 20, top), row.name, TEXT, TEXT_SIZE)
        draw_shape(pen, left + 20, top + 26, row.shape, row.axes)
        if row.leads_on and number + 1 < len(rows):
            draw_down_arrow(pen, left + 6, top + 26, top + ROW + 2)
