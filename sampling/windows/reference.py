"""Windows that take their look from a reference window, the same one in every step.

Objects: the self-attention of every spatial transformer also attends to the tokens of one reference
frame, as in reference-only ControlNet (Zhang 2023, Mikubill/sd-webui-controlnet discussion 1236)
and the sparse-causal attention of Tune-A-Video (Wu et al. 2023), here across context windows.
Colour and light: the mean of every channel of a window's prediction becomes that of the reference,
the half of adaptive instance normalisation (Huang & Belongie 2017) that leaves contrast and motion
alone. The mean of every frame stays within the range of the reference's frames, so that no single
frame flashes.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

import torch
from einops import rearrange, reduce, repeat

from ...motion_modules.run_state import AD_PARAMS
from .run import WeightedWindow
from .schedules import Window

ATTENTION_PATCHES = "attn1_patch"
TokenKey = tuple[tuple[str, int], int, UUID]  # block, number of the attention in it, cond


@dataclass(frozen=True)
class ChannelMeans:
    """Channel means of a window, `[1, channels, 1, 1]`: of all its frames, and of its darkest and brightest frame."""

    window: torch.Tensor
    lowest: torch.Tensor
    highest: torch.Tensor

    @classmethod
    def measure(cls, window: torch.Tensor) -> "ChannelMeans":
        frames = _average_frames(window)
        return cls(frames.mean(0, keepdim=True), frames.amin(0, keepdim=True), frames.amax(0, keepdim=True))

    def shift(self, window: torch.Tensor) -> torch.Tensor:
        """Return `window` with these means; those of a single frame are only kept within the range."""
        frames = _average_frames(window)
        shifted = frames + (self.window - frames.mean(0, keepdim=True))
        return window + (shifted.clamp(self.lowest, self.highest) - frames)


class WindowReference:
    """Look of the window around one `frame` of the clip, which the others take on in one evaluation of all windows.

    With `attends`, they attend to the tokens of the frame. With `matches_means`, they take on the
    channel means of the window.
    """

    def __init__(self, frame: int, attends: bool = True, matches_means: bool = True):
        self.frame = frame
        self.attends = attends
        self.matches_means = matches_means
        self._is_stored = False
        self._tokens: dict[tuple[TokenKey, int], torch.Tensor] = {}  # [tiles, tokens, channels] of each call
        self._means: list[ChannelMeans] = []

    def restart(self) -> "WindowReference":
        """Return a reference around the same frame that has not seen its window, for another tile of the picture."""
        return WindowReference(self.frame, self.attends, self.matches_means)

    def put_first(self, windows: Sequence[WeightedWindow]) -> tuple[WeightedWindow, ...]:
        """Return `windows` with the reference window first: of the densest, the one with the frame most central.

        The first window of a call is stored, and every later one follows it.
        """
        first = min(windows, key=lambda window: _rank(window.frames, self.frame))
        return first, *(window for window in windows if window is not first)

    def match_means(self, predictions: list[torch.Tensor], windows: int) -> list[torch.Tensor]:
        """Return the predictions of `windows` windows for each cond, with the channel means of the reference window.

        Predictions are `[windows * frames, channels, height, width]`.
        """
        if not self._is_stored:
            self._is_stored = True
            self._means = [ChannelMeans.measure(prediction) for prediction in predictions]
            return predictions
        if not self.matches_means:
            return predictions
        return [
            torch.cat([means.shift(window) for window in prediction.chunk(windows)])
            for prediction, means in zip(predictions, self._means, strict=True)
        ]

    def patch_options(self, options: dict, window: Window, conds: Mapping[UUID, UUID]) -> dict:
        """Return the host's `transformer_options` with a patch of the self-attention.

        `window` is the first window of the call. `conds` maps the ids of the windows' conds to
        those of the clip's.
        """
        if not self.attends:
            return options
        if self._is_stored:
            return _add_patch(options, self._attend_patch(conds))
        return _add_patch(options, self._store_patch(window.index(self.frame), conds))

    def _store_patch(self, frame: int, conds: Mapping[UUID, UUID]) -> Callable:
        calls: Counter[TokenKey] = Counter()

        def store(tokens, context, value, extra_options):
            keys, frames = _list_token_keys(extra_options, conds), _count_call_frames(extra_options)
            if len(context) == len(tokens) and len(tokens) % (len(keys) * frames) == 0:
                chunks = rearrange(tokens, "(tile cond f) n c -> cond f tile n c", cond=len(keys), f=frames)
                for key, chunk in zip(keys, chunks, strict=True):
                    # a view would keep the tokens of all frames in memory
                    self._tokens[key, _count(calls, key)] = chunk[frame].clone()
            return tokens, context, value

        return store

    def _attend_patch(self, conds: Mapping[UUID, UUID]) -> Callable:
        calls: Counter[TokenKey] = Counter()

        def attend(tokens, context, value, extra_options):
            keys, frames = _list_token_keys(extra_options, conds), _count_call_frames(extra_options)
            places = [(key, _count(calls, key)) for key in keys]
            stored = [self._tokens[place] for place in places if place in self._tokens]
            shape = (len(tokens) // (len(keys) * frames), *tokens.shape[1:])  # tiles, tokens, channels
            if len(context) != len(tokens) or [tiles.shape for tiles in stored] != [shape] * len(keys):
                return tokens, context, value
            by_tile = torch.stack(stored, dim=1).to(tokens.device)
            reference = repeat(by_tile, "tile cond n c -> (tile cond f) n c", f=frames)
            return tokens, torch.cat([context, reference], dim=1), torch.cat([value, reference], dim=1)

        return attend


def _rank(window: Window, frame: int) -> tuple[bool, int, int]:
    """Return a key that is lowest for the densest window that has `frame` nearest to its middle."""
    if frame not in window:
        return True, 0, 0
    spacing = min((abs(after - before) for before, after in pairwise(window)), default=0)
    return False, spacing, abs(window.index(frame) - len(window) // 2)


def _average_frames(window: torch.Tensor) -> torch.Tensor:
    return reduce(window, "f c h w -> f c 1 1", "mean")


def _list_token_keys(extra_options: dict, conds: Mapping[UUID, UUID]) -> list[TokenKey]:
    """Return one key for each cond chunk of a call."""
    return [(extra_options["block"], extra_options["block_index"], conds[uuid]) for uuid in extra_options["uuids"]]


def _count_call_frames(extra_options: dict) -> int:
    """Return the number of frames that each cond shows in a call; with tiles, each tile of it."""
    return len(extra_options[AD_PARAMS]["sub_idxs"])


def _count(calls: Counter[TokenKey], key: TokenKey) -> int:
    """Count a call with `key`; nodes may evaluate a window in several calls, one after another."""
    calls[key] += 1
    return calls[key]


def _add_patch(options: dict, patch: Callable) -> dict:
    patches = options.get("patches", {})
    return {**options, "patches": {**patches, ATTENTION_PATCHES: [*patches.get(ATTENTION_PATCHES, []), patch]}}
