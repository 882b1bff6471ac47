"""Evaluation of a picture that is larger than a tile: each tile is evaluated as if it were the picture.

`LoomContextHandler` calls `predict_in_tiles`. Inside a tile, frames are divided into windows as
without tiles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import comfy.model_management
import torch

from .devices import run_on_devices
from .evaluation import WindowEvaluation
from .tile_conds import cut_conds
from .tiles import WeightedTile


def predict_in_tiles(evaluation: WindowEvaluation) -> list[torch.Tensor]:
    """Return the weighted mean of the tiles' predictions, for each cond."""
    totals = [torch.zeros_like(evaluation.x) for _ in evaluation.conds]
    for tiles in _plan_rounds(evaluation):
        comfy.model_management.throw_exception_if_processing_interrupted()
        for weighted, predictions in zip(tiles, _predict_tiles(evaluation, tiles), strict=True):
            for total, prediction in zip(totals, predictions, strict=True):
                weighted.tile.cut(total).add_(prediction * weighted.weights.to(prediction.dtype))
    return totals


def _plan_rounds(evaluation: WindowEvaluation) -> Iterator[Sequence[WeightedTile]]:
    """Yield the tiles that are evaluated at the same time, one per device."""
    tiles = evaluation.run.weigh_tiles(evaluation.settings, evaluation.x)
    devices = max(1, len(evaluation.devices))
    yield from (tiles[start : start + devices] for start in range(0, len(tiles), devices))


def _predict_tiles(evaluation: WindowEvaluation, tiles: Sequence[WeightedTile]) -> list[list[torch.Tensor]]:
    """Predict one tile per device at the same time; a single tile gives its windows to all devices."""
    if len(tiles) == 1:
        return [_cut_to_tile(evaluation, tiles[0]).predict()]
    tasks = {
        device: partial(_cut_to_tile(evaluation.restrict_to_device(device), weighted).predict)
        for device, weighted in zip(evaluation.devices, tiles, strict=False)
    }
    return run_on_devices(evaluation.model_options, tasks)


def _cut_to_tile(evaluation: WindowEvaluation, weighted: WeightedTile) -> WindowEvaluation:
    """Return the evaluation of one tile."""
    reference = evaluation.reference
    return replace(
        evaluation,
        x=weighted.tile.cut(evaluation.x).contiguous(),
        conds=[cut_conds(conds, weighted.tile, evaluation.x, evaluation.timestep) for conds in evaluation.conds],
        reference=None if reference is None else reference.restart(),
        tile=weighted.tile,
    )
