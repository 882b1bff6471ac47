"""Evaluation of the conds, window by window.

`LoomContextHandler` calls `predict`, in tiles `predict_in_tiles` does. It calls the host's
`calc_cond_batch` for groups of windows.

Several windows are handed to the host at once, as if they were one clip, since everything with one
entry per frame is cut by one list of frames. Only motion modules have to know how many windows
there are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby
from math import ceil
from typing import Any
from uuid import UUID

import comfy.model_management
import torch
from comfy.context_windows import IndexListContextWindow
from einops import rearrange

from ...motion_modules.contract import Views, Windowing
from ...motion_modules.run_state import AD_PARAMS, CONTEXT_WINDOW, TILE, WINDOWING
from ...motion_modules.tile import Tile
from ..other_nodes import may_read_frames
from ..steps import step_number
from .conds import UUID_KEY, FrameSlice, slice_conds
from .controls import WindowControls
from .devices import count_fitting_windows, list_devices, restrict_to_device, run_on_devices
from .reference import WindowReference
from .run import ContextRun, WeightedWindow
from .settings import ContextSettings

Group = tuple[WeightedWindow, ...]  # windows of one length, for one call of the model
Conds = list[list[dict] | None]


@dataclass(frozen=True)
class WindowEvaluation:
    """The arguments that the host hands to a context handler, and what applies at this noise level.

    `x` is `[frames, channels, height, width]`, with one timestep per frame. With a `reference`, the
    first window gives its look to the others. With a `tile`, `x` and `conds` are cut to it.
    """

    calc_cond_batch: Callable
    model: Any
    conds: Conds
    x: torch.Tensor
    timestep: torch.Tensor
    model_options: dict
    settings: ContextSettings
    run: ContextRun
    reference: WindowReference | None = None
    tile: Tile | None = None

    @property
    def options(self) -> dict:
        return self.model_options["transformer_options"]

    @property
    def devices(self) -> list[torch.device]:
        return list_devices(self.model_options)

    def predict(self) -> list[torch.Tensor]:
        """Return the prediction for each cond over all frames."""
        if self.settings.divides_attention(len(self.x)):
            return self._predict_in_views(self.run.weigh_views(self.settings, self.x, self._step))
        return self._merge_windows(self.run.weigh_windows(self.settings, self.x, self._step))

    @property
    def _step(self) -> int:
        """The step whose windows are evaluated: the first one while windows attend to a reference.

        Windows that move while objects take shape average their motion away.
        """
        if self.reference is not None and self.reference.attends:
            return 0
        return step_number(float(self.timestep.max()), self.options["sample_sigmas"])

    def _predict_in_views(self, views: Views) -> list[torch.Tensor]:
        """Predict the whole clip at once, with temporal attention in windows."""
        options = {**self.options, WINDOWING: Windowing(len(self.x), views)}
        conds = self.conds if self.tile is None else self._slice_conds(FrameSlice.cover(len(self.x)))
        return self._call_model(conds, self.x, self.timestep, options)

    def _merge_windows(self, windows: Group) -> list[torch.Tensor]:
        """Return the weighted mean of the windows' predictions, for each cond."""
        totals = [torch.zeros_like(self.x) for _ in self.conds]
        for groups in self._plan_rounds(windows):
            comfy.model_management.throw_exception_if_processing_interrupted()
            for group, predictions in zip(groups, self._predict_groups(groups), strict=True):
                _accumulate(totals, predictions, group)
        return totals

    def _plan_rounds(self, windows: Group) -> Iterator[list[Group]]:
        """Yield the groups that are evaluated at the same time, one per device; a reference window is alone."""
        limit = self._count_fitting_windows()
        if self.reference is not None:
            windows = self.reference.put_first(windows)
            yield [windows[:1]]
            windows = windows[1:]
        devices = max(1, len(self.devices))
        groups = list(_group_windows(windows, max(1, min(limit, ceil(len(windows) / devices)))))
        yield from (groups[start : start + devices] for start in range(0, len(groups), devices))

    def _count_fitting_windows(self) -> int:
        if may_read_frames(self.conds, self.model_options):
            return 1
        chunks = sum(len(cond) for cond in self.conds if cond is not None)
        window_shape = [self.settings.attended_frames(len(self.x)) * chunks, *self.x.shape[1:]]
        limit = self.settings.windows_at_once
        return count_fitting_windows(self.model, self.model_options, window_shape, self.x.device, limit)

    def _predict_groups(self, groups: list[Group]) -> list[list[torch.Tensor]]:
        """Predict one group per device at the same time; without MultiGPU nodes, one after another."""
        if not self.devices:
            return [self._predict_windows(group) for group in groups]
        tasks = {
            device: partial(self.restrict_to_device(device)._predict_windows, group)
            for device, group in zip(self.devices, groups, strict=False)
        }
        return run_on_devices(self.model_options, tasks)

    def restrict_to_device(self, device: torch.device) -> "WindowEvaluation":
        """Return this evaluation by the copy of the model on `device`, which may run in any thread."""
        return replace(self, model_options=restrict_to_device(self.model_options, device))

    def _predict_windows(self, group: Group) -> list[torch.Tensor]:
        """Predict the windows of `group` in one call of the model."""
        part = FrameSlice(tuple(chain.from_iterable(window.frames for window in group)), len(self.x))
        conds = self._slice_conds(part)
        x, timestep = self.x[list(part.frames)], part.cut(self.timestep, "The timestep")
        options = self.options | _describe_windows(part, group)
        if self.reference is None:
            return self._call_model(conds, x, timestep, options)
        options = self.reference.patch_options(options, group[0].frames, _map_cond_ids(conds, self.conds))
        return self.reference.match_means(self._call_model(conds, x, timestep, options), len(group))

    def _slice_conds(self, part: FrameSlice) -> Conds:
        controls = WindowControls(part, self.run, self.tile)
        return [slice_conds(cond, part, controls.find) for cond in self.conds]

    def _call_model(self, conds: Conds, x: torch.Tensor, timestep: torch.Tensor, options: dict) -> list[torch.Tensor]:
        if self.tile is not None:
            options = {**options, TILE: self.tile}
        model_options = {**self.model_options, "transformer_options": options}
        return self.calc_cond_batch(self.model, conds, x, timestep, model_options)


def _group_windows(windows: Group, limit: int) -> Iterator[Group]:
    """Yield groups of up to `limit` consecutive windows of one length."""
    for _, same_length in groupby(windows, key=lambda window: len(window.frames)):
        group = tuple(same_length)
        yield from (group[start : start + limit] for start in range(0, len(group), limit))


def _describe_windows(part: FrameSlice, group: Group) -> dict:
    """Return options for this pack's motion modules, for other packs (`ad_params`), and for the host's own readers."""
    frames, total_frames = list(part.frames), part.total_frames
    return {
        WINDOWING: Windowing(len(group[0].frames)),
        AD_PARAMS: {"sub_idxs": frames, "full_length": total_frames, "context_length": len(group[0].frames)},
        CONTEXT_WINDOW: IndexListContextWindow(frames, dim=0, total_frames=total_frames),
    }


def _map_cond_ids(window_conds: Conds, clip_conds: Conds) -> dict[UUID, UUID]:
    """Return the ids of the clip's conds by the ids of a window's conds."""
    window_chunks, clip_chunks = (chain.from_iterable(filter(None, conds)) for conds in (window_conds, clip_conds))
    pairs = zip(window_chunks, clip_chunks, strict=True)
    return {window_cond[UUID_KEY]: clip_cond[UUID_KEY] for window_cond, clip_cond in pairs}


def _accumulate(totals: list[torch.Tensor], predictions: list[torch.Tensor], group: Group) -> None:
    """Add to `totals` the weighted predictions of each window at its frames."""
    for total, prediction in zip(totals, predictions, strict=True):
        by_window = rearrange(prediction, "(window frame) c h w -> window frame c h w", window=len(group))
        for window, window_prediction in zip(group, by_window, strict=True):
            total.index_add_(0, window.indices, window_prediction * window.weights.to(window_prediction.dtype))
