"""Clips in a folder: videos, and subfolders of pictures, with captions in text files beside them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import comfy.utils
import numpy
import torch
from einops import rearrange
from PIL import Image

from ..motion_modules.errors import describe_cause
from .clips import ClipFault

VIDEOS = (".avi", ".gif", ".mkv", ".mov", ".mp4", ".webm")
PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
LONGEST_NUMBER = 32  # digits of a number in a file name
NO_CAPTION = "no caption: write one into a .txt file of the same name, or into `captions`"


@dataclass(frozen=True)
class FrameSettings:
    """Frames of a clip: `length` of them, every `step`-th of a video, cut to `width` x `height` pixels."""

    length: int = 16
    step: int = 4
    width: int = 256
    height: int = 256
    flip: bool = False


@dataclass(frozen=True)
class SourceClip:
    """A clip before it is encoded; `images` are `[frames, height, width, 3]` from 0 to 1."""

    name: str
    caption: str
    images: torch.Tensor


def read_folder(
    folder: Path, settings: FrameSettings, captions: Sequence[str]
) -> tuple[list[SourceClip], list[ClipFault]]:
    """Return the clips in `folder` and all faults. `captions`, one for each, are for those without a text file."""
    clips, faults = [], []
    for path, caption in zip(list_clips(folder), captions, strict=True):
        try:
            text = read_caption(path) or caption
            images = torch.stack(list(islice(_fit_frames(path, settings), settings.length)))
        except Exception as error:  # damaged files make decoders raise anything
            faults.append(ClipFault(path.name, f"not readable ({describe_cause(error)})"))
            continue
        faults += [ClipFault(path.name, problem) for problem in _list_problems(images, settings, text)]
        clips.append(SourceClip(path.name, text, images))
        if settings.flip:
            clips.append(SourceClip(f"{path.name} (mirrored)", text, images.flip(2)))
    return clips, faults


def list_clips(folder: Path) -> list[Path]:
    """Return the videos in `folder` and its subfolders with pictures, sorted by name, 2 before 10."""
    return [path for path in _sort_files(folder) if path.suffix.lower() in VIDEOS or _list_pictures(path)]


def read_caption(path: Path) -> str:
    """Return the text in the file beside a clip, `clip.txt` for `clip.mp4` and for the folder `clip`, else nothing.

    Raises ValueError for a file in another encoding than UTF-8.
    """
    file = path.parent / f"{path.name if path.is_dir() else path.stem}.txt"
    try:
        return " ".join(file.read_text(encoding="utf-8-sig").split()) if file.is_file() else ""
    except UnicodeDecodeError as error:
        raise ValueError(f"'{file.name}' is not UTF-8 text: save it as UTF-8") from error


class TooSmall(ValueError):
    """Pictures with fewer pixels than training asks for."""


def _fit_frames(path: Path, settings: FrameSettings) -> Iterator[torch.Tensor]:
    frames = _read_pictures(path) if path.is_dir() else _read_video(path)
    for picture in islice(frames, 0, None, settings.step):
        height, width = picture.shape[:2]
        if width < settings.width or height < settings.height:
            raise TooSmall(f"{width} x {height} pixels, but training asks for {settings.width} x {settings.height}")
        yield fit_picture(torch.from_numpy(picture).float() / 255, settings.width, settings.height)


def fit_picture(picture: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Scale `[height, width, 3]` to cover the new size, and cut its centre out."""
    batch = rearrange(picture, "h w c -> 1 c h w")
    return rearrange(comfy.utils.common_upscale(batch, width, height, "area", "center"), "1 c h w -> h w c")


def _read_video(path: Path) -> Iterator[Any]:
    """Yield the frames as players show them: phones store upright videos lying, with an angle counterclockwise."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            turned = numpy.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            yield numpy.ascontiguousarray(turned)


def _read_pictures(folder: Path) -> Iterator[Any]:
    for path in _list_pictures(folder):
        with Image.open(path) as picture:
            yield numpy.array(picture.convert("RGB"))


def _list_pictures(folder: Path) -> list[Path]:
    return [path for path in _sort_files(folder) if path.suffix.lower() in PICTURES] if folder.is_dir() else []


def _sort_files(folder: Path) -> list[Path]:
    """Return what is in `folder`, sorted by name with numbers by their values."""
    return sorted(folder.iterdir(), key=lambda path: (re.sub(r"\d+", _pad_number, path.name), path.name))


def _pad_number(match: re.Match[str]) -> str:
    return match[0].zfill(LONGEST_NUMBER)


def _list_problems(images: torch.Tensor, settings: FrameSettings, caption: str) -> Iterator[str]:
    if len(images) < settings.length:
        needed = (settings.length - 1) * settings.step + 1
        yield f"too short for {settings.length} frames: it needs {needed}, with `frame_step` {settings.step}"
    if not caption:
        yield NO_CAPTION
