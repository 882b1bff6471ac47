"""Prompts through the host's text encoder, each one once, and their features laid out over the frames of a clip."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from comfy.conds import is_equal
from comfy.sd import CLIP

from ...motion_modules.errors import LoomError
from .blending import blend_features, equalise_lengths
from .schedule import Blend

POOLED = "pooled_output"
SDXL_ENCODERS = {"l", "g"}
Extras = Mapping[str, Any]


def encode_prompts(clip: CLIP, prompts: Sequence[str], between: Sequence[Blend], interpolation: str) -> list:
    """A CONDITIONING with features `[frames, tokens, width]` and a pooled output `[frames, width]`.

    It has one entry, or where hooks change the text encoder while sampling, one for each of their ranges of steps.
    """
    if clip is None:
        raise LoomError("clip is empty: connect a checkpoint with a text encoder, or a Load CLIP node.")
    encoded = {prompt: clip.encode_from_tokens_scheduled(clip.tokenize(prompt)) for prompt in dict.fromkeys(prompts)}
    two_encoders = set(clip.tokenize("")) == SDXL_ENCODERS
    ranges = zip(*(encoded[prompt] for prompt in prompts), strict=True)
    return [_entry(entries, between, interpolation, two_encoders) for entries in ranges]


def _entry(entries: Sequence, between: Sequence[Blend], interpolation: str, two_encoders: bool) -> list:
    """One entry of a CONDITIONING, out of those of every prompt."""
    texts: list[torch.Tensor] = [text for text, _ in entries]
    extras: list[Extras] = [extra for _, extra in entries]
    pooled: list[Any] = [extra.get(POOLED) for extra in extras]
    found = {**_shared(extras), POOLED: None}
    if all(vector is not None for vector in pooled):
        found[POOLED] = blend_features(pooled, between, interpolation)
    widths = _widths(texts[0], pooled[0]) if two_encoders else ()
    return [blend_features(equalise_lengths(texts), between, interpolation, widths), found]


def _widths(text: torch.Tensor, pooled: torch.Tensor) -> tuple[int, int]:
    """Those of CLIP-L and CLIP-G in SDXL; the pooled output is CLIP-G's and as wide as its features."""
    return text.shape[-1] - pooled.shape[-1], pooled.shape[-1]


def _shared(extras: Sequence[Extras]) -> dict[str, Any]:
    """What the encoder says about the prompts besides their features, the same of them all."""
    names = {name for extra in extras for name in extra} - {POOLED}
    for name in sorted(names):
        if not all(name in extra and is_equal(extra[name], extras[0].get(name)) for extra in extras):
            raise LoomError(
                f"clip gives each prompt a '{name}' of its own, which cannot change from frame to frame: "
                "connect the CLIP of an SD1.5 or SDXL checkpoint."
            )
    return {name: extras[0][name] for name in names}
