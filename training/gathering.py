"""Training clips from a folder, from pictures or from latents, with all faults found before anything is encoded."""

from collections.abc import Sequence
from pathlib import Path

import torch
from comfy.sd import CLIP, VAE

from ..motion_modules.errors import LoomError
from .clip_folder import NO_CAPTION, FrameSettings, SourceClip, list_clips, read_folder
from .clips import ClipFault, TrainingClips, require_sound
from .encoding import LatentCache, caption_clips, encode_clips

Pictures = list[torch.Tensor]  # of each clip, `[frames, height, width, 3]`


def gather_folder(
    folder: Path, settings: FrameSettings, captions: str, clip: CLIP, vae: VAE, cache: Path
) -> tuple[TrainingClips, Pictures]:
    """Return the clips of a folder; raise LoomError with a table of all that cannot be used."""
    count = len(list_clips(folder))
    if not count:
        raise LoomError(f"The folder '{folder.name}' has no videos and no subfolders of pictures. Put clips into it.")
    sources, faults = read_folder(folder, settings, spread_captions(captions, count))
    require_sound(faults, count)
    return encode_clips(sources, LatentCache(cache, vae), clip), [source.images for source in sources]


def gather_images(
    images: torch.Tensor, length: int, captions: str, clip: CLIP, vae: VAE, cache: Path
) -> tuple[TrainingClips, Pictures]:
    """Return the clips in a batch of IMAGEs, which follow each other with `length` frames each."""
    parts = split_batch(images, length, "images")
    texts = assign_captions(captions, len(parts))
    sources = [SourceClip(f"clip {number}", *pair) for number, pair in enumerate(zip(texts, parts, strict=True), 1)]
    return encode_clips(sources, LatentCache(cache, vae), clip), parts


def gather_latents(latents: torch.Tensor, length: int, captions: str, clip: CLIP) -> tuple[TrainingClips, Pictures]:
    """Return the clips in a batch of latents; their pictures are three of the channels as colours."""
    parts = split_batch(latents, length, "latents")
    names = [f"clip {number}" for number in range(1, len(parts) + 1)]
    clips = caption_clips(names, parts, assign_captions(captions, len(parts)), clip)
    return clips, [_show_latents(part) for part in parts]


def join_clips(first: TrainingClips | None, second: TrainingClips) -> TrainingClips:
    return TrainingClips((*first.clips, *second.clips), second.empty) if first else second


def split_batch(batch: torch.Tensor, length: int, name: str) -> list[torch.Tensor]:
    """Divide a batch into clips of `length` frames. Raise LoomError where it is no whole number of them."""
    if len(batch) < length or len(batch) % length:
        raise LoomError(
            f"`{name}` has {len(batch)} frames, which are no whole number of clips of {length}. Set `clip_length` to "
            "the frames of one clip."
        )
    return list(batch.split(length))


def assign_captions(captions: str, count: int) -> Sequence[str]:
    """Return the result of spread_captions; raise LoomError where there are no captions."""
    if not captions.strip():
        require_sound([ClipFault(f"clip {number}", NO_CAPTION) for number in range(1, count + 1)], count)
    return spread_captions(captions, count)


def spread_captions(captions: str, count: int) -> Sequence[str]:
    """Return a caption for each of `count` clips, from one line for all or one line for each, "" without lines."""
    lines = [line.strip() for line in captions.splitlines() if line.strip()] or [""]
    if len(lines) not in (1, count):
        raise LoomError(
            f"`captions` has {len(lines)} lines for {count} clips. Write one line for all clips, or one for each."
        )
    return lines * count if len(lines) == 1 else lines


def _show_latents(latents: torch.Tensor) -> torch.Tensor:
    colours = latents[:, :3].float().movedim(1, -1)
    low, high = colours.amin(), colours.amax()
    return (colours - low) / (high - low).clamp(min=1e-6)
