"""Pictures for frames of a clip: which frame each of them is for, their size, and their latents."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from einops import rearrange

from ...motion_modules.errors import LoomError, shorten
from ..prompts.keyframes import Place, locate, mistake
from ..prompts.line_notation import COLONS
from ..resizing import cover
from ..steering.curves import NUMBER, POSITION, read_position, split_entries

NODE = "Image To Video"
FRAMES_INPUT = "image_frames"

_entry = rf"{POSITION}(?:\s*[{COLONS}]\s*(?P<strength>{NUMBER}))?"


@dataclass(frozen=True, eq=False)
class PlacedPicture:
    """A picture `[height, width, channels]` for a frame, with a strength of 0 (off) to 1 from the input `source`."""

    source: str
    picture: torch.Tensor
    frame: int
    strength: float


@dataclass(frozen=True, eq=False)
class ClipPictures:
    """The pictures of a clip of `length` frames, in the order of their frames.

    `latents` `[pictures, channels, height, width]` are those of the VAE.
    """

    length: int
    frames: tuple[int, ...]
    strengths: tuple[float, ...]
    latents: torch.Tensor

    def find_nearest(self, frame: int) -> int:
        """Return the number of the picture that is nearest to `frame`, the earlier one of two."""
        return min(range(len(self.frames)), key=lambda number: abs(self.frames[number] - frame))


def place_batch(images: torch.Tensor, text: str, length: int) -> list[PlacedPicture]:
    """Return the pictures of a batch `[pictures, height, width, channels]` for the frames in `text`.

    `text` lists frames or percentages of the clip, each with a strength after a colon or without
    one, such as "0, 8: 0.5, 100%". An empty one spreads the pictures evenly from the first to the
    last frame. Raise LoomError where it does not fit the number of pictures.
    """
    places = _read_places(text, length) if text.strip() else _spread(len(images), length)
    if len(places) != len(images):
        raise LoomError(
            f"`images` has {len(images)} pictures, but `{FRAMES_INPUT}` lists {len(places)} frames. List one frame for "
            "each picture, or leave it empty to spread them evenly."
        )
    return [PlacedPicture(FRAMES_INPUT, image, *place) for image, place in zip(images, places, strict=True)]


def encode_pictures(
    model: ModelPatcher, vae: Any, pictures: Sequence[PlacedPicture], length: int, width: int, height: int
) -> ClipPictures:
    """Return the latents of the pictures that have a strength, resized to `width` x `height` pixels.

    Raise LoomError where there are none, for two pictures on one frame, a frame outside of the
    clip, a strength outside of 0 to 1, and a VAE that is missing or of another model.
    """
    _check(pictures, length)
    used = sorted((picture for picture in pictures if picture.strength), key=lambda each: each.frame)
    if not used:
        raise LoomError(
            f"{NODE} has no picture with a strength above 0. Connect `start_image`, `end_image` or `images`."
        )
    if vae is None:
        raise LoomError(f"`vae` of {NODE} is empty: the checkpoint has no VAE. Connect Load VAE.")
    pixels = torch.cat([fit_size(each.picture[None], width, height) for each in used])
    latents = vae.encode(pixels)
    channels = model.get_model_object("latent_format").latent_channels
    if latents.ndim != 4 or latents.shape[1] != channels:
        raise LoomError(
            f"`vae` makes latents of the shape {list(latents.shape)}, but the model needs {channels} channels. "
            "Connect the VAE of the checkpoint."
        )
    return ClipPictures(length, tuple(each.frame for each in used), tuple(each.strength for each in used), latents)


def fit_size(images: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Return `images` `[pictures, height, width, channels]` in this size, without alpha.

    Pictures of another shape are scaled until they cover it, and cropped around their centre.
    """
    channels_first = rearrange(images[..., :3], "picture h w c -> picture c h w")
    return rearrange(cover(channels_first, height, width), "picture c h w -> picture h w c")


def _check(pictures: Sequence[PlacedPicture], length: int) -> None:
    frames = [each.frame for each in pictures if each.strength]
    for each in pictures:
        if not 0 <= each.frame < length:
            raise LoomError(
                f"A picture is for frame {each.frame}, but the clip has the frames 0 to {length - 1}. Change "
                f"`{FRAMES_INPUT}`, or raise `length`."
            )
        if not isfinite(each.strength):
            raise LoomError(f"`{each.source}` is {each.strength}, but must be a finite number. Change `{each.source}`.")
        if not 0 <= each.strength <= 1:
            raise LoomError(f"`{each.source}` has the strength {each.strength:g}. Use a value from 0 to 1.")
        if frames.count(each.frame) > 1:
            raise LoomError(
                f"Two pictures are for frame {each.frame}. Change `{FRAMES_INPUT}`, or disconnect one of them."
            )


def _spread(count: int, length: int) -> list[tuple[int, float]]:
    if count > length:
        raise LoomError(
            f"`images` has {count} pictures, but the clip has {length} frames. Connect at most {length} pictures, or "
            f"raise `length` to {count}."
        )
    return [(round(number * (length - 1) / max(1, count - 1)), 1.0) for number in range(count)]


def _read_places(text: str, length: int) -> list[tuple[int, float]]:
    return [_read_place(entry, place, length) for entry, place in split_entries(text, FRAMES_INPUT)]


def _read_place(entry: str, place: Place, length: int) -> tuple[int, float]:
    match = re.fullmatch(_entry, entry)
    if match is None:
        raise mistake(place, f"'{shorten(entry, 40)}'", "a frame, or a frame, a colon and a strength, such as `8: 0.5`")
    return locate(read_position(match, place), length, 0), float(match["strength"] or 1)
