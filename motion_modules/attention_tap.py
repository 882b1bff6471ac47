"""The tap through which a method sees or edits attention along frames.

A tap is called before each temporal attention, and returns the queries, keys and values to use
instead, or None to leave them alone. Several taps run in order, each on what the one before it
returned. `unet.placement.add_attention_tap` puts one on a MODEL; for a module alone,
`MotionInputs(frames, taps=ModuleTaps((tap,), module))` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import nn

QKV = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class BatchContents:
    """Contents of a batch of the UNet: one clip after another, each with its frame numbers and kind of cond.

    `chunk_kinds` are the host's `cond_or_uncond`, repeated for every clip of a chunk. `sigmas` is
    the noise level.
    """

    windows: tuple[tuple[int, ...], ...] = ()
    chunk_kinds: tuple[int, ...] = ()
    sigmas: torch.Tensor | None = None


@dataclass(frozen=True)
class AttentionCall:
    """Where and when an attention runs.

    `owner` is the key of the applied motion model, `site` the place of its module. `index` counts
    the attentions of the module in the order in which they run, and `name` is that of the layer.
    `frames` is the number of frames in a sequence: tokens are
    `[clips * positions, frames, channels]`, for attention over space as well
    `[clips, frames * places, channels]`. `positions` says which of the flattened height and width
    they are, None for all. With attention in views, `view` holds the frames of the clip that attend
    to each other here.
    """

    owner: str
    site: str
    index: int
    name: str
    heads: int
    scale: float
    frames: int
    positions: slice | None
    view: torch.Tensor | None
    batch: BatchContents

    @property
    def chunk_kinds(self) -> tuple[int, ...]:
        """For each clip in the batch 0 for a positive cond, 1 for a negative one, as in the host."""
        return self.batch.chunk_kinds

    @property
    def windows(self) -> tuple[tuple[int, ...], ...]:
        """For each clip in the batch the frame numbers that attend to each other."""
        if self.view is None:
            return self.batch.windows
        view = self.view.tolist()
        return tuple(tuple(window[frame] for frame in view) for window in self.batch.windows)

    @property
    def sigma(self) -> float | None:
        """Noise level; reading it waits for the device."""
        return None if self.batch.sigmas is None else float(self.batch.sigmas.max())


class AttentionTap(Protocol):
    """Sees one attention, and may return other queries, keys and values of the same shapes."""

    def __call__(self, call: AttentionCall, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> QKV | None: ...


class ModuleTaps:
    """The taps on one run of one module, which its `MotionInputs` carry.

    `positions` and `view` are those of `AttentionCall`, as the module has last entered them.
    """

    def __init__(
        self,
        taps: Sequence[AttentionTap],
        module: nn.Module,
        owner: str = "",
        site: str = "",
        batch: BatchContents | None = None,
    ):
        self._taps, self._module = taps, module
        self._owner, self._site, self._batch = owner, site, batch or BatchContents()
        self._indices: dict[int, int] = {}
        self.positions: slice | None = None
        self.view: torch.Tensor | None = None

    @torch.compiler.disable()
    def enter_positions(self, positions: slice | None) -> None:
        """Note at which positions attention runs from now on."""
        self.positions = positions

    @torch.compiler.disable()
    def enter_view(self, view: torch.Tensor | None) -> None:
        """Note which frames of the clip attend to each other from now on."""
        self.view = view

    @torch.compiler.disable()
    def edit(self, qkv: QKV, heads: int, scale: float, frames: int, source: nn.Module) -> QKV:
        """Return what the taps make of queries, keys and values of the layer `source`; `frames` are those of a clip."""
        index = self._indices.setdefault(id(source), len(self._indices))
        name = self._names.get(id(source), "")
        frames = frames if self.view is None else len(self.view)
        where = (self._owner, self._site, index, name, heads, scale, frames, self.positions, self.view, self._batch)
        call = AttentionCall(*where)
        for tap in self._taps:
            qkv = tap(call, *qkv) or qkv
        return qkv

    @cached_property
    def _names(self) -> dict[int, str]:
        return {id(part): name for name, part in self._module.named_modules()}
