"""Windows that look at one frame of a reference window, so that a long clip keeps its appearance.

Self-attention of every spatial transformer sees that frame's tokens beside its own, as in reference-only ControlNet
(Zhang 2023, Mikubill/sd-webui-controlnet discussion 1236) and in the sparse-causal attention of Tune-A-Video (Wu et al.
2023), here across context windows.
"""

from collections.abc import Callable, Mapping
from uuid import UUID

import torch

from ..motion_modules.contract import frames_per_chunk

ATTENTION_PATCHES = "attn1_patch"
Key = tuple[tuple[str, int], int, UUID]  # block, number of the attention in it, cond


class WindowReference:
    """The tokens of one frame at every self-attention, kept from one window's evaluation for the others of a step."""

    def __init__(self):
        self._tokens: dict[Key, torch.Tensor] = {}

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


def _keys(extra_options: dict, conds: Mapping[UUID, UUID]) -> list[Key]:
    """One for each cond chunk of a call."""
    return [(extra_options["block"], extra_options["block_index"], conds[uuid]) for uuid in extra_options["uuids"]]


def _with_patch(options: dict, patch: Callable) -> dict:
    patches = options.get("patches", {})
    return {**options, "patches": {**patches, ATTENTION_PATCHES: [*patches.get(ATTENTION_PATCHES, []), patch]}}
