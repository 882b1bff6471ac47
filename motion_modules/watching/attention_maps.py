"""Attention between frames, for each head, as a mean over positions, prompts and steps."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange, reduce

from ..attention_tap import AttentionCall

MAX_LOGITS = 2**22  # at once: 16 MiB; of more sequences an even selection is taken
MAX_PLACES = 64  # of a frame, where attention goes over space as well

Key = tuple[str, str, str, int, torch.device]  # owner, site, attention, frames


@dataclass
class _Sum:
    total: torch.Tensor
    count: int


@dataclass(frozen=True)
class AttentionMap:
    """Mean attention `weights` `[heads, frames, frames]`: row i is how frame i attends to every frame, with sum 1.

    `owner` and `site` say which motion module, `attention` which of its attentions. Where attention
    is divided into windows, frames are those of a window, counted from its first.
    """

    owner: str
    site: str
    attention: str
    weights: torch.Tensor

    @property
    def reach(self) -> list[float]:
        """Mean distance in frames, for each head, between a frame and the frames that it attends to."""
        position = torch.arange(self.weights.shape[1], dtype=self.weights.dtype)
        distance = (position[:, None] - position).abs()
        return (self.weights * distance).sum(dim=2).mean(dim=1).tolist()


class AttentionMapRecorder:
    """An attention tap that sums softmax(s q k^T / sqrt(d)), on the device until the maps are asked for."""

    def __init__(self, draws: Callable[[str], bool] | None = None):
        """Only sites for which `draws` returns True are drawn, all of them without it."""
        self._draws = draws
        self._sums: dict[Key, _Sum] = {}

    def __call__(self, call: AttentionCall, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
        """Add one attention; tokens that are neither frames nor places of frames are passed over."""
        frames = _count_frames(q.shape[1], call.frames)
        if frames and (self._draws is None or self._draws(call.site)):
            self._add((call.owner, call.site, call.name, frames, q.device), q, k, call.heads, call.scale)

    def maps(self) -> list[AttentionMap]:
        """Return the means so far; where windows differ in length, those of the longest."""
        merged: dict[tuple[str, str, str], _Sum] = {}
        for (owner, site, attention, frames, _), part in sorted(self._sums.items(), key=lambda pair: pair[0][3]):
            other = merged.get((owner, site, attention))
            same = other is not None and other.total.shape[1] == frames
            total, count = (other.total, other.count) if other is not None and same else (0, 0)
            merged[owner, site, attention] = _Sum(part.total.cpu() + total, part.count + count)
        return [AttentionMap(*place, weights=each.total / each.count) for place, each in merged.items()]

    def _add(self, key: Key, query: torch.Tensor, keys: torch.Tensor, heads: int, scale: float) -> None:
        weights = attention_weights(query, keys, heads, scale, frames=key[3])
        total, count = weights.sum(dim=0), len(weights)
        entry = self._sums.setdefault(key, _Sum(torch.zeros_like(total), 0))
        entry.total += total
        entry.count += count


def attention_weights(
    query: torch.Tensor, key: torch.Tensor, heads: int, scale: float, frames: int | None = None
) -> torch.Tensor:
    """Return softmax(s q k^T / sqrt(d)) `[sequences, heads, frames, frames]` in float32, for some of the sequences.

    With several tokens for each of `frames`, it is the mean over the tokens of a frame, or over
    some of them from all over the picture, of their attention to all tokens of another frame.
    """
    frames = frames or query.shape[1]
    places = query.shape[1] // frames
    if places == 1:
        stride = -(-len(query) * heads * frames**2 // MAX_LOGITS)
        query, key = query[::stride], key[::stride]
    q, k = (rearrange(part.float(), "n token (head d) -> n head token d", head=heads) for part in (query, key))
    chosen = torch.linspace(0, places - 1, min(places, MAX_PLACES)).long().tolist()
    return torch.stack([_attend_to_frames(q[:, :, place::places], k, scale, frames) for place in chosen]).mean(dim=0)


def _attend_to_frames(q: torch.Tensor, k: torch.Tensor, scale: float, frames: int) -> torch.Tensor:
    weights = (q @ k.transpose(2, 3) * (scale * q.shape[3] ** -0.5)).softmax(dim=3)
    return reduce(weights, "n head query (frame place) -> n head query frame", "sum", frame=frames)


def _count_frames(tokens: int, frames: int) -> int:
    """Return how many frames the tokens of a sequence belong to, or 0 where they do not divide into `frames`."""
    return min(tokens, frames) if tokens <= frames or tokens % frames == 0 else 0
