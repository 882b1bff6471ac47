"""Clips that one sampler leaves with noise, for another one to finish.

Their frames differ by that noise. Whether they start from one latent is known from the first sampler
alone, so it is remembered with the clip.
"""

from collections import deque

import torch

MAX_CLIPS = 64

_clips_of_one_source: deque[int] = deque(maxlen=MAX_CLIPS)


def remember_unfinished(clip: torch.Tensor) -> None:
    """Remember that `clip`, `[frames, channels, height, width]`, holds noise and starts from one latent."""
    _clips_of_one_source.append(_sign(clip))


def continues_one_source(latent: torch.Tensor) -> bool:
    """Return whether `latent` is an unfinished clip whose frames start from one latent."""
    return bool(_clips_of_one_source) and _sign(latent) in _clips_of_one_source


def _sign(clip: torch.Tensor) -> int:
    """Return a number for the content of `clip`, in the lowest precision in which nodes pass it on."""
    return hash((tuple(clip.shape), clip.to(torch.float16).numpy(force=True).tobytes()))
