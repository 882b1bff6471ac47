"""Put the frames of a video side by side in one picture.

Needs PyAV and Pillow, which every host brings.
"""

from pathlib import Path

import av
from PIL import Image

COLUMNS, WIDTH, GAP = 8, 128, 2


def make_film_strip(frames: list[Image.Image], columns: int = COLUMNS, width: int = WIDTH) -> Image.Image:
    """Arrange frames from left to right and from top to bottom, each `width` pixels wide, on white."""
    height = round(width * frames[0].height / frames[0].width)
    rows = -(-len(frames) // columns)
    size = columns * (width + GAP) - GAP, rows * (height + GAP) - GAP
    strip = Image.new("RGB", size, "white")
    for number, frame in enumerate(frames):
        row, column = divmod(number, columns)
        scaled = frame.resize((width, height), Image.Resampling.LANCZOS)
        strip.paste(scaled, (column * (width + GAP), row * (height + GAP)))
    return strip


def save_film_strip(video: Path, picture: Path) -> None:
    make_film_strip(read_frames(video)).save(picture)


def read_frames(video: Path) -> list[Image.Image]:
    with av.open(str(video)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]
