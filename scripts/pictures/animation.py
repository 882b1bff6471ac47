"""Frames of moving pictures: clips side by side with their labels, and the files that they are saved to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diagrams.drawing import BED, FAINT, PAPER, TEXT, style, write
from PIL import Image

PANEL = 560  # pixels: twice the width of the help panel, for dense screens
GAP = 16
LABEL, NOTE = 26, 22  # sizes of letters, which the panel shows half as large
LINE = 32
RATE = 8  # frames a second, as in the example workflows


@dataclass(frozen=True)
class LabelledClip:
    """A clip with a label of one or more lines below it."""

    frames: Sequence[Image.Image]
    label: str


@dataclass(frozen=True)
class Sheet:
    """Place of clips in rows of `columns`, on a page `width` pixels wide, with labels in letters of `size`."""

    columns: int
    width: int = PANEL
    size: int = NOTE
    lines: int = 1

    @property
    def side(self) -> int:
        return (self.width - GAP * (self.columns + 1)) // self.columns

    @property
    def row(self) -> int:
        return self.side + 8 + self.lines * (self.size + 6) + GAP

    def height(self, clips: int) -> int:
        return GAP + -(-clips // self.columns) * self.row


def tile_clips(clips: Sequence[LabelledClip], sheet: Sheet, foot: str = "") -> list[Image.Image]:
    """Return the frames of a picture of all clips; shorter ones start again."""
    frames = max(len(clip.frames) for clip in clips)
    return [_tile_frame(clips, sheet, number, foot) for number in range(frames)]


def _tile_frame(clips: Sequence[LabelledClip], sheet: Sheet, number: int, foot: str) -> Image.Image:
    foot_height = sheet.size + 2 * GAP if foot else 0
    page = Image.new("RGB", (sheet.width, sheet.height(len(clips)) + foot_height), PAPER)
    pen = style.Pen(page)
    for place, clip in enumerate(clips):
        row, column = divmod(place, sheet.columns)
        left, top = GAP + column * (sheet.side + GAP), GAP + row * sheet.row
        page.paste(scale(clip.frames[number % len(clip.frames)], sheet.side), (left, top))
        for line, text in enumerate(clip.label.splitlines()):
            write(pen, (left, top + sheet.side + 8 + line * (sheet.size + 6)), text, TEXT, sheet.size)
    if foot:
        write(pen, (GAP, page.height - foot_height + 6), foot, FAINT, sheet.size)
    return page


def scale(frame: Image.Image, side: int) -> Image.Image:
    return frame.resize((side, side), Image.Resampling.BICUBIC)


def draw_playhead(pen, left: float, right: float, y: float, part: float) -> None:
    """Draw a bar that is filled up to `part` of its width."""
    pen.rectangle((left, y, right, y + 5), BED)
    pen.rectangle((left, y, left + part * (right - left), y + 5), FAINT)


def save_animation(frames: Sequence[Image.Image], file: Path, milliseconds: int = 1000 // RATE, quality: int = 80):
    """Write an animated WebP that repeats for ever."""
    options = {"duration": milliseconds, "loop": 0, "quality": quality, "method": 6, "minimize_size": True}
    frames[0].save(file, save_all=True, append_images=list(frames[1:]), **options)
