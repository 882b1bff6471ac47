"""Clips and captions encoded once, for every step of a training run."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from comfy.sd import CLIP, VAE

from ..motion_modules.files.reading import read_checkpoint
from ..motion_modules.files.saving import write_tensors
from .clip_folder import SourceClip
from .clips import TrainingClip, TrainingClips

LATENTS = "latents"
SAMPLED = 64  # values of each weight of a VAE that tell it from another


class LatentCache:
    """Latents of clips in files of `folder`, named by a hash of the pictures and of the VAE."""

    def __init__(self, folder: Path, vae: VAE):
        self.folder, self.vae = folder, vae
        weights = vae.patcher.model.state_dict()
        self.vae_digest = _hash_tensors(weight.flatten()[:SAMPLED] for weight in weights.values())

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latents `[frames, channels, height, width]` of IMAGEs, as the host's VAE Encode does."""
        file = self.folder / f"{_hash_tensors([images])}_{self.vae_digest}.safetensors"
        if file.exists():
            return read_checkpoint(str(file))[0][LATENTS].clone()
        latents = self.vae.encode(images[..., :3])
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        write_tensors({LATENTS: latents}, {"format": "pt"}, unfinished)
        unfinished.replace(file)
        return latents


def encode_clips(sources: Sequence[SourceClip], cache: LatentCache, clip: CLIP) -> TrainingClips:
    """Return the clips with latents and CONDITIONINGs."""
    latents = [cache.encode(source.images) for source in sources]
    names, captions = [source.name for source in sources], [source.caption for source in sources]
    return caption_clips(names, latents, captions, clip)


def caption_clips(
    names: Sequence[str], latents: Sequence[torch.Tensor], captions: Sequence[str], clip: CLIP
) -> TrainingClips:
    """Return clips of these latents, with each of their captions encoded once."""
    encoded = {text: encode_text(clip, text) for text in dict.fromkeys([*captions, ""])}
    rows = zip(names, latents, captions, strict=True)
    return TrainingClips(tuple(TrainingClip(*row, encoded[row[2]]) for row in rows), encoded[""])


def encode_text(clip: CLIP, text: str) -> list[Any]:
    """Return the CONDITIONING of a prompt, as the host's CLIP Text Encode does."""
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def _hash_tensors(tensors: Iterable[torch.Tensor]) -> str:
    summed = hashlib.sha256()
    for tensor in tensors:
        summed.update(repr(tuple(tensor.shape)).encode())
        summed.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return summed.hexdigest()[:32]
