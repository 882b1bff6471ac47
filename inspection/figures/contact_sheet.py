"""Contact sheets: a row of frames for every clip, under its name and caption."""

from collections.abc import Sequence

import torch
from PIL import Image

from .figure import HEADING, Panel, draw_figure, draw_heading
from .style import Box, Pen

FRAMES, GAP = 8, 6  # of a row, and pixels between two of them
MAX_ROWS = 24


def draw_contact_sheet(titles: Sequence[tuple[str, str]], clips: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return an IMAGE with frames of each clip `[frames, height, width, 3]`; `titles` are names and captions."""
    rows = list(zip(titles, clips, strict=True))[:MAX_ROWS]
    more = f", the first {MAX_ROWS} of them" if len(clips) > MAX_ROWS else ""
    count = f"{len(clips)} clips{more}" if len(clips) > 1 else "1 clip"
    return draw_figure("Training clips", count, [_make_row(title, clip) for title, clip in rows])


def _make_row(title: tuple[str, str], clip: torch.Tensor) -> Panel:
    chosen = torch.linspace(0, len(clip) - 1, min(FRAMES, len(clip))).round().long()
    pictures = [Image.fromarray((frame.clamp(0, 1) * 255).byte().cpu().numpy()) for frame in clip[chosen]]
    width = 150
    height = max(1, round(width * pictures[0].height / pictures[0].width))

    def draw(pen: Pen, box: Box) -> None:
        draw_heading(pen, box, title[0], f"{len(clip)} frames \u00b7 {title[1]}")
        for number, picture in enumerate(pictures):
            place = (box[0] + number * (width + GAP), box[1] + HEADING)
            pen.picture.paste(picture.resize((width, height), Image.Resampling.NEAREST), place)

    return Panel(HEADING + height + 2 * GAP, draw)
