"""Who looks at whom: attention between frames, for each head, as a mean over positions, prompts and steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

LARGEST_PART = 2**22  # logits at once: 16 MiB; of more sequences an even selection is taken
MOST_PLACES = 64  # of a frame, where attention goes over space as well

Key = tuple[str, str, str, int, torch.device]  # owner, site, attention, frames
Watcher = Callable[[torch.Tensor, torch.Tensor, int, float, nn.Module | None], None]


@dataclass
class _Sum:
    total: torch.Tensor
    count: int


@dataclass(frozen=True)
class AttentionMap:
    """`weights` `[heads, frames, frames]`: row i is what frame i takes from every frame, and adds up to 1.

    `owner` and `site` say which motion module, `attention` which of its attentions. Where attention is divided into
    windows, frames are those of a window, counted from its first.
    """

    owner: str
    site: str
    attention: str
    weights: torch.Tensor

    @property
    def reach(self) -> list[float]:
        """For each head the mean distance, in frames, to where a frame looks."""
        place = torch.arange(self.weights.shape[1], dtype=self.weights.dtype)
        distance = (place[:, None] - place).abs()
        return (self.weights * distance).sum(dim=2).mean(dim=1).tolist()


class AttentionMaps:
    """Sums of softmax(s q k^T / sqrt(d)), kept where they were calculated until they are asked for."""

    def __init__(self):
        self._sums: dict[Key, _Sum] = {}

    def watcher(self, owner: str, site: str, module: nn.Module, frames: int, places: int) -> Watcher:
        """What is to be called with each query and key `[sequences, tokens, channels]` of a motion module.

        Tokens are at most `frames`, or all `places` of each of these, the first frame's first; others are passed over.
        """
        names = _names(module)

        @torch.compiler.disable()
        def watch(query, key, heads: int, scale: float, source: nn.Module | None = None) -> None:
            there = _frames_in(query.shape[1], frames, places)
            if there:
                attention = names.get(id(source), "")
                self._add((owner, site, attention, there, query.device), query, key, heads, scale)

        return watch

    def maps(self) -> list[AttentionMap]:
        """The means so far; of windows of several lengths those of the longest."""
        found: dict[tuple[str, str, str], _Sum] = {}
        for (owner, site, attention, frames, _), own in sorted(self._sums.items(), key=lambda pair: pair[0][3]):
            other = found.get((owner, site, attention))
            same = other is not None and other.total.shape[1] == frames
            before, count = (other.total, other.count) if other is not None and same else (0, 0)
            found[owner, site, attention] = _Sum(own.total.cpu() + before, own.count + count)
        return [AttentionMap(*place, weights=own.total / own.count) for place, own in found.items()]

    def _add(self, key: Key, query: torch.Tensor, keys: torch.Tensor, heads: int, scale: float) -> None:
        weights = attention_weights(query, keys, heads, scale, frames=key[3])
        total, count = weights.sum(dim=0), len(weights)
        own = self._sums.setdefault(key, _Sum(torch.zeros_like(total), 0))
        own.total += total
        own.count += count


def attention_weights(
    query: torch.Tensor, key: torch.Tensor, heads: int, scale: float, frames: int | None = None
) -> torch.Tensor:
    """softmax(s q k^T / sqrt(d)) `[sequences, heads, frames, frames]` in float32, of a selection of the sequences.

    Where `frames` are fewer than tokens, it is what those of a frame, or some of them all over the picture, take on
    average from all those of another.
    """
    frames = frames or query.shape[1]
    places = query.shape[1] // frames
    if places == 1:
        apart = -(-len(query) * heads * frames**2 // LARGEST_PART)
        query, key = query[::apart], key[::apart]
    q, k = (part.float().unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key))
    chosen = torch.linspace(0, places - 1, min(places, MOST_PLACES)).long().tolist()
    return torch.stack([_from_frames(q[:, :, place::places], k, scale, frames) for place in chosen]).mean(dim=0)


def _from_frames(q: torch.Tensor, k: torch.Tensor, scale: float, frames: int) -> torch.Tensor:
    weights = (q @ k.transpose(2, 3) * (scale * q.shape[3] ** -0.5)).softmax(dim=3)
    return weights.unflatten(3, (frames, -1)).sum(dim=4)


def _frames_in(tokens: int, frames: int, places: int) -> int:
    """How many frames so many tokens are, or 0 where they are something else."""
    if tokens <= frames:
        return tokens
    return tokens // places if tokens % places == 0 and 1 < tokens // places <= frames else 0


def _names(module: nn.Module) -> Mapping[int, str]:
    return {id(part): name for name, part in module.named_modules()}
