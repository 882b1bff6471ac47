"""Sheets of sample pictures."""

from pathlib import Path

import torch
from PIL import Image


def save_grid(file: Path, pictures: torch.Tensor, columns: int, gap: int = 2) -> None:
    """Save `[n, 3, height, width]` in 0 to 1 as one PNG, row by row."""
    count, _, height, width = pictures.shape
    rows = -(-count // columns)
    sheet = torch.full((3, rows * (height + gap), columns * (width + gap)), 0.2)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = picture
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((sheet * 255).round().byte().permute(1, 2, 0).cpu().numpy()).save(file)
