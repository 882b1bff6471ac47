"""One evaluation of the conds, window by window.

The host is given several windows at once as if they were one clip, since everything per frame is cut by one list of
frames; only motion modules have to know how many windows there are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from math import ceil
from typing import Any
from uuid import UUID

import comfy.model_management
import torch
from comfy.context_windows import IndexListContextWindow

from ...motion_modules.contract import Views, Windowing
from ...motion_modules.run_state import AD_PARAMS, CONTEXT_WINDOW, WINDOWING
from .conds import UUID_KEY, FrameSlice, slice_conds
from .controls import WindowControls
from .reference import WindowReference
from .run import WeightedWindow

MEMORY_MARGIN = 1.5  # the host's own, when it decides how many conds to evaluate at once
CLONES, POOL = "multigpu_clones", "multigpu_thread_pool"

Group = tuple[WeightedWindow, ...]
Conds = list[list[dict] | None]


@dataclass(frozen=True)
class WindowEvaluation:
    """What the host hands to a context handler: `x` is `[frames, channels, height, width]`, one timestep a frame."""

    calc_cond_batch: Callable
    model: Any
    conds: Conds
    x: torch.Tensor
    timestep: torch.Tensor
    model_options: dict

    @property
    def options(self) -> dict:
        return self.model_options["transformer_options"]

    def in_views(self, views: Views) -> list[torch.Tensor]:
        """The whole clip at once, temporal attention in views."""
        return self._predict(self.conds, self.x, self.timestep, {**self.options, WINDOWING: Windowing(views=views)})

    def fused(self, windows: Group, at_once: int, hints: dict, reference: WindowReference | None) -> list[torch.Tensor]:
        """The weighted mean of what the windows predict, for each cond; the first window is the reference."""
        totals = [torch.zeros_like(self.x) for _ in self.conds]
        on_each = ceil((len(windows) - (reference is not None)) / max(1, len(self._devices)))
        groups = _groups(windows, max(1, min(at_once, on_each)), reference is not None)
        if reference is not None:
            first = next(groups)
            predicted = self._in_windows(first, hints, reference, is_reference=True)
            reference.keep_means(predicted)
            _add(totals, predicted, first)
        for together in _in_turn(groups, len(self._devices)):
            comfy.model_management.throw_exception_if_processing_interrupted()
            predicted = self._on_devices([lambda on, g=g: on._in_windows(g, hints, reference) for g in together])
            for group, own in zip(together, predicted, strict=True):
                _add(totals, reference.with_its_means(own, len(group)) if reference else own, group)
        return totals

    @property
    def _devices(self) -> list[torch.device]:
        """Those of the host's MultiGPU nodes, which keep a copy of the model on each."""
        return list(self.model_options.get(CLONES, {})) if POOL in self.model_options else []

    def fitting(self, length: int, most: int) -> int:
        """How many windows the host's estimate has memory for on every device, with all conds in one batch."""
        chunks = sum(len(cond) for cond in self.conds if cond is not None)
        clones = {device: self.model_options[CLONES][device] for device in self._devices}
        patchers = clones or {self.x.device: self.model.current_patcher}
        free = min(patcher.get_free_memory(device) for device, patcher in patchers.items())
        for count in range(most, 1, -1):
            shape = [count * length * chunks, *self.x.shape[1:]]
            if self.model.memory_required(shape) * MEMORY_MARGIN < free:
                return count
        return 1

    def _on_devices(self, works: list[Callable[["WindowEvaluation"], list[torch.Tensor]]]) -> list[list[torch.Tensor]]:
        """One work on each device at the same time, by the host's own threads; without such devices, here."""
        if not self._devices:
            return [work(self) for work in works]
        pool, used = self.model_options[POOL], self._devices[: len(works)]
        for device, work in zip(used, works, strict=True):
            pool.submit(device, work, self._alone_on(device))
        results = [pool.get_result(device) for device in used]
        for _, error in results:
            if error is not None:
                raise error
        return [predicted for predicted, _ in results]

    def _alone_on(self, device: torch.device) -> "WindowEvaluation":
        """The same evaluation by one copy of the model, in whichever thread it is called."""
        options = {**self.model_options, CLONES: {device: self.model_options[CLONES][device]}}
        del options[POOL]
        return replace(self, model_options=options)

    def _in_windows(
        self, group: Group, hints: dict, reference: WindowReference | None, is_reference: bool = False
    ) -> list[torch.Tensor]:
        part = FrameSlice(tuple(chain.from_iterable(window.frames for window in group)), len(self.x))
        controls = WindowControls(part, hints)
        conds = [slice_conds(cond, part, controls) for cond in self.conds]
        options = self.options | _published(part, group)
        if reference is not None:
            ids = _cond_ids(self.conds, conds)
            middle = len(group[0].frames) // 2
            options = reference.kept(options, middle, ids) if is_reference else reference.shown(options, ids)
        return self._predict(conds, self.x[list(part.frames)], part.of(self.timestep, "The timestep"), options)

    def _predict(self, conds: Conds, x: torch.Tensor, timestep: torch.Tensor, options: dict) -> list[torch.Tensor]:
        model_options = {**self.model_options, "transformer_options": options}
        return self.calc_cond_batch(self.model, conds, x, timestep, model_options)


def _in_turn(groups: Iterator[Group], devices: int) -> Iterator[list[Group]]:
    while together := list(islice(groups, max(1, devices))):
        yield together


def _groups(windows: Group, at_once: int, first_alone: bool) -> Iterator[Group]:
    """Windows to evaluate together, which have to be of one length."""
    if first_alone:
        yield windows[:1]
        windows = windows[1:]
    for _, same_length in groupby(windows, key=lambda window: len(window.frames)):
        alike = tuple(same_length)
        yield from (alike[start : start + at_once] for start in range(0, len(alike), at_once))


def _published(part: FrameSlice, group: Group) -> dict:
    """For our motion modules, for other packs (`ad_params`), and for what reads the host's own window."""
    length = len(group[0].frames)
    return {
        WINDOWING: Windowing(clips=len(group)),
        AD_PARAMS: {"sub_idxs": list(part.frames), "full_length": part.clip, "context_length": length},
        CONTEXT_WINDOW: IndexListContextWindow(list(part.frames), dim=0, total_frames=part.clip),
    }


def _cond_ids(conds: Conds, windowed: Conds) -> dict[UUID, UUID]:
    """The ids of the clip's conds by those of a window's."""
    pairs = zip(chain.from_iterable(filter(None, windowed)), chain.from_iterable(filter(None, conds)), strict=True)
    return {own[UUID_KEY]: cond[UUID_KEY] for own, cond in pairs}


def _add(totals: list[torch.Tensor], predicted: list[torch.Tensor], group: Group) -> None:
    for total, prediction in zip(totals, predicted, strict=True):
        for window, own in zip(group, prediction.chunk(len(group)), strict=True):
            total.index_add_(0, window.numbers, own * window.weights.to(own.dtype))
