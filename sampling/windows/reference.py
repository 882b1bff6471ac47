"""Windows that take their look from a reference window, so that the look of a long clip stays the same.

Objects: the self-attention of every spatial transformer also attends to the tokens of one reference
frame, as in reference-only ControlNet (Zhang 2023, Mikubill/sd-webui-controlnet discussion 1236)
and the sparse-causal attention of Tune-A-Video (Wu et al. 2023), here across context windows.
Colour and light: the mean of every channel of a window's prediction becomes that of the reference,
the half of adaptive instance normalisation (Huang & Belongie 2017) that leaves contrast and motion
alone.
"""

from collections.abc import Callable, Mapping
from uuid import UUID

import torch
from einops import rearrange, reduce, repeat

from ...motion_modules.contract import frames_per_chunk

ATTENTION_PATCHES = "attn1_patch"
TokenKey = tuple[tuple[str, int], int, UUID]  # block, number of the attention in it, cond


class WindowReference:
    """Tokens of the middle frame and channel means of the window that is evaluated first in a step.

    The first window is stored, every later one matched to it.
    """

    def __init__(self):
        self._tokens: dict[TokenKey, torch.Tensor] = {}
        self._means: list[torch.Tensor] = []

    def match_means(self, predictions: list[torch.Tensor], windows: int) -> list[torch.Tensor]:
        """Return the predictions of `windows` windows for each cond, with the channel means of the first window.

        Predictions are `[windows * frames, channels, height, width]`.
        """
        if not self._means:
            self._means = [_measure_means(prediction) for prediction in predictions]
            return predictions
        return [
            _shift_to_means(prediction, means, windows)
            for prediction, means in zip(predictions, self._means, strict=True)
        ]

    def patch_options(self, options: dict, frames: int, conds: Mapping[UUID, UUID]) -> dict:
        """Return the host's `transformer_options` for windows of `frames`, with a patch of the self-attention.

        `conds` maps the ids of the windows' conds to those of the clip's.
        """
        if self._means:
            return _add_patch(options, self._attend_patch(conds))
        return _add_patch(options, self._store_patch(frames // 2, conds))

    def _store_patch(self, frame: int, conds: Mapping[UUID, UUID]) -> Callable:
        def store(tokens, context, value, extra_options):
            keys = _list_token_keys(extra_options, conds)
            frames = frames_per_chunk(len(tokens), len(keys))
            for key, chunk in zip(keys, rearrange(tokens, "(cond f) n c -> cond f n c", f=frames), strict=True):
                self._tokens[key] = chunk[frame].clone()  # a view would keep the tokens of all frames in memory
            return tokens, context, value

        return store

    def _attend_patch(self, conds: Mapping[UUID, UUID]) -> Callable:
        def attend(tokens, context, value, extra_options):
            keys = _list_token_keys(extra_options, conds)
            stored = [self._tokens[key] for key in keys if key in self._tokens]
            if len(stored) < len(keys) or any(frame.shape != tokens.shape[1:] for frame in stored):
                return tokens, context, value
            frames = frames_per_chunk(len(tokens), len(keys))
            reference = repeat(torch.stack(stored).to(tokens.device), "cond n c -> (cond f) n c", f=frames)
            return tokens, torch.cat([context, reference], dim=1), torch.cat([value, reference], dim=1)

        return attend


def _measure_means(clip: torch.Tensor) -> torch.Tensor:
    return reduce(clip, "f c h w -> 1 c 1 1", "mean")


def _shift_to_means(prediction: torch.Tensor, means: torch.Tensor, windows: int) -> torch.Tensor:
    return torch.cat([window + (means - _measure_means(window)) for window in prediction.chunk(windows)])


def _list_token_keys(extra_options: dict, conds: Mapping[UUID, UUID]) -> list[TokenKey]:
    """Return one key for each cond chunk of a call."""
    return [(extra_options["block"], extra_options["block_index"], conds[uuid]) for uuid in extra_options["uuids"]]


def _add_patch(options: dict, patch: Callable) -> dict:
    patches = options.get("patches", {})
    return {**options, "patches": {**patches, ATTENTION_PATCHES: [*patches.get(ATTENTION_PATCHES, []), patch]}}
