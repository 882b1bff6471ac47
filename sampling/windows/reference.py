"""Windows that take their appearance from a reference window, so that a long clip keeps its own.

What things look like: self-attention of every spatial transformer sees the tokens of one frame of the reference beside
its own, as in reference-only ControlNet (Zhang 2023, Mikubill/sd-webui-controlnet discussion 1236) and in the
sparse-causal attention of Tune-A-Video (Wu et al. 2023), here across context windows. What colour and light the whole
picture has: the mean of every channel of a window's prediction becomes that of the reference, the half of adaptive
instance normalisation (Huang & Belongie 2017) that leaves contrast and motion alone.
"""

from collections.abc import Callable, Mapping
from uuid import UUID

import torch

from ...motion_modules.contract import frames_per_chunk

ATTENTION_PATCHES = "attn1_patch"
Key = tuple[tuple[str, int], int, UUID]  # block, number of the attention in it, cond


class WindowReference:
    """What one window's evaluation leaves for the others of a step: tokens of one frame, and the means of a clip."""

    def __init__(self):
        self._tokens: dict[Key, torch.Tensor] = {}
        self._means: list[torch.Tensor] = []

    def keep_means(self, predicted: list[torch.Tensor]) -> None:
        """`predicted` is what the reference window predicts for each cond, `[frames, channels, height, width]`."""
        self._means = [_channel_means(own) for own in predicted]

    def with_its_means(self, predicted: list[torch.Tensor], windows: int) -> list[torch.Tensor]:
        """The same predictions, of `windows` windows behind one another, with the channel means of the reference."""
        return [
            torch.cat([window + (means - _channel_means(window)) for window in own.chunk(windows)])
            for own, means in zip(predicted, self._means, strict=True)
        ]

    def kept(self, options: dict, frame: int, conds: Mapping[UUID, UUID]) -> dict:
        """The host's `transformer_options` for the reference window, of which `frame` is kept.

        `conds` tells the ids of the clip's conds from those of the window's.
        """

        def keep(tokens, context, value, extra_options):
            keys = _keys(extra_options, conds)
            frames = frames_per_chunk(len(tokens), len(keys))
            for number, key in enumerate(keys):
                place = number * frames + frame
                self._tokens[key] = tokens[place : place + 1]
            return tokens, context, value

        return _with_patch(options, keep)

    def shown(self, options: dict, conds: Mapping[UUID, UUID]) -> dict:
        """The host's `transformer_options` for a window that looks at the kept frame."""

        def show(tokens, context, value, extra_options):
            keys = _keys(extra_options, conds)
            kept = [self._tokens[key] for key in keys if key in self._tokens]
            if len(kept) < len(keys) or any(frame.shape[1:] != tokens.shape[1:] for frame in kept):
                return tokens, context, value
            frames = frames_per_chunk(len(tokens), len(keys))
            beside = torch.cat([frame.expand(frames, -1, -1) for frame in kept]).to(tokens.device)
            return tokens, torch.cat([context, beside], dim=1), torch.cat([value, beside], dim=1)

        return _with_patch(options, show)


def _channel_means(clip: torch.Tensor) -> torch.Tensor:
    return clip.mean((0, 2, 3), keepdim=True)


def _keys(extra_options: dict, conds: Mapping[UUID, UUID]) -> list[Key]:
    """One for each cond chunk of a call."""
    return [(extra_options["block"], extra_options["block_index"], conds[uuid]) for uuid in extra_options["uuids"]]


def _with_patch(options: dict, patch: Callable) -> dict:
    patches = options.get("patches", {})
    return {**options, "patches": {**patches, ATTENTION_PATCHES: [*patches.get(ATTENTION_PATCHES, []), patch]}}
