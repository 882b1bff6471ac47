"""Prompts encoded by the host's text encoder, each one once, with features for every frame of a clip."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from comfy.conds import is_equal
from comfy.model_management import get_free_memory
from comfy.sd import CLIP

from ...motion_modules.errors import LoomError
from .blending import blend_features, check_memory, equalise_lengths
from .schedule import Blend

POOLED = "pooled_output"
SDXL_ENCODERS = {"l", "g"}
Extras = Mapping[str, Any]  # the dictionary of a CONDITIONING's entry


def encode_prompts(clip: CLIP, prompts: Sequence[str], blends: Sequence[Blend], interpolation: str) -> list:
    """Return a CONDITIONING with features `[frames, tokens, width]` and a pooled output `[frames, width]`.

    It has one entry or, where hooks change the text encoder while sampling, one for each of their
    ranges of steps.
    """
    if clip is None:
        raise LoomError("`clip` is empty. Connect a checkpoint with a text encoder, or a Load CLIP node.")
    prompts, blends = select_prompts(prompts, blends)
    encoded = {prompt: clip.encode_from_tokens_scheduled(clip.tokenize(prompt)) for prompt in dict.fromkeys(prompts)}
    has_two_encoders = set(clip.tokenize("")) == SDXL_ENCODERS
    ranges = list(zip(*(encoded[prompt] for prompt in prompts), strict=True))
    contexts = [equalise_lengths([text for text, _ in entries])[0] for entries in ranges]
    check_memory(contexts, len(blends), cast(int, get_free_memory(contexts[0].device)))
    return [_blend_entry(entries, blends, interpolation, has_two_encoders) for entries in ranges]


def select_prompts(prompts: Sequence[str], blends: Sequence[Blend]) -> tuple[list[str], list[Blend]]:
    """Return the prompts that `blends` use, and the blends with their numbers."""
    used = sorted({number for blend in blends for number in (blend.before, blend.after)})
    numbers = {number: index for index, number in enumerate(used)}
    blends = [Blend(numbers[blend.before], numbers[blend.after], blend.t) for blend in blends]
    return [prompts[number] for number in used], blends


def _blend_entry(entries: Sequence, blends: Sequence[Blend], interpolation: str, has_two_encoders: bool) -> list:
    """Return one entry of a CONDITIONING, blended from the entries of all prompts."""
    texts: list[torch.Tensor] = [text for text, _ in entries]
    prompt_extras: list[Extras] = [extras for _, extras in entries]
    pooled: list[Any] = [extras.get(POOLED) for extras in prompt_extras]
    blended = {**_merge_extras(prompt_extras), POOLED: None}
    if all(vector is not None for vector in pooled):
        blended[POOLED] = blend_features(pooled, blends, interpolation)
    widths = _encoder_widths(texts[0], pooled[0]) if has_two_encoders else ()
    return [blend_features(equalise_lengths(texts), blends, interpolation, widths), blended]


def _encoder_widths(text: torch.Tensor, pooled: torch.Tensor) -> tuple[int, int]:
    """Return the widths of CLIP-L and CLIP-G in SDXL; the pooled output is as wide as CLIP-G's features."""
    return text.shape[-1] - pooled.shape[-1], pooled.shape[-1]


def _merge_extras(prompt_extras: Sequence[Extras]) -> dict[str, Any]:
    """Return all but the features of the prompts. Raise LoomError when it differs between prompts."""
    names = {name for extras in prompt_extras for name in extras} - {POOLED}
    first = prompt_extras[0]
    for name in sorted(names):
        if not all(name in extras and is_equal(extras[name], first.get(name)) for extras in prompt_extras):
            raise LoomError(
                f"`clip` gives each prompt a different '{name}', which cannot change from frame to frame. "
                "Connect the CLIP of an SD1.5 or SDXL checkpoint."
            )
    return {name: first[name] for name in names}
