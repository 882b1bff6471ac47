"""The page that a browser photographs as the thumbnail of a template."""

import base64
import io

from film_strip import GAP, make_film_strip
from PIL import Image

WIDTH, HEIGHT = 640, 480
SHOWN, COLUMNS = 12, 4  # frames of a clip
BACKGROUND = "#171718"
MADE_WITH = "Result with Loom Mini \u00b7 \u7528 Loom Mini \u751f\u6210\u7684\u7ed3\u679c"
PAGE = """<style>
body {{ margin: 0; width: {width}px; height: {height}px; position: relative; overflow: hidden;
  background: {background} }}
.result {{ position: absolute; left: 0; top: 0; width: 100%; height: 100%; object-fit: cover; object-position: top }}
.graph {{ position: absolute; right: 10px; bottom: 10px; width: 270px; border: 2px solid #ddd; border-radius: 6px }}
.label {{ position: absolute; left: 10px; bottom: 10px; max-width: 320px; padding: 4px 8px; border-radius: 6px;
  font: 13px sans-serif; color: #fff; background: #171718cc }}
</style>
<img class="result" src="{result}"><img class="graph" src="{graph}"><div class="label">{label}</div>"""


def build_page(picture: Image.Image, graph: bytes, remark: str = "") -> str:
    """Return the HTML of a thumbnail: a picture of the result, the graph small in a corner, and what it is."""
    label = f"{MADE_WITH}<br>{remark}" if remark else MADE_WITH
    result = embed(encode(picture))
    return PAGE.format(
        background=BACKGROUND, width=WIDTH, height=HEIGHT, result=result, graph=embed(graph), label=label
    )


def lay_out(frames: list[Image.Image]) -> Image.Image:
    """Return one picture of frames spread evenly over the clip; of a single frame, that frame."""
    if len(frames) == 1:
        return frames[0]
    return make_film_strip(_spread(frames, SHOWN), COLUMNS, WIDTH // COLUMNS)


def lay_out_comparison(
    plain: list[Image.Image], changed: list[Image.Image], columns: int = 2 * COLUMNS, shown: int = 4 * COLUMNS
) -> Image.Image:
    """Return one picture of two clips, one above the other, with room for the graph below."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    frames = [*_spread(plain, shown), *_spread(changed, shown)]
    picture.paste(make_film_strip(frames, columns, WIDTH // columns - GAP), (0, 0))
    return picture


def _spread(frames: list[Image.Image], count: int) -> list[Image.Image]:
    """Return `count` frames, spread evenly over the clip."""
    return [frames[round(index * (len(frames) - 1) / (count - 1))] for index in range(count)]


def encode(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def embed(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
