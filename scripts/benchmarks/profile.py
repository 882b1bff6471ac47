"""Where the time of a sampling step goes: the largest operations, with and without motion modules."""

from collections.abc import Iterator

import torch

from . import Run
from .measuring import Figure, synchronize
from .step import evaluate, make_models

LARGEST = 15


def figures(run: Run) -> Iterator[Figure]:
    dtype, size = run.dtypes[-1], run.sizes[-1] if run.device.type == "cuda" else run.sizes[0]
    for who, model in make_models(dtype).items():
        evaluate(model, run.frames, size, lambda step: step())
        table = _profile(run, model, size)
        yield Figure(f"profile {size}x{size}, {run.frames} frames, {dtype}, {who}", f"\n{table}")


def _profile(run: Run, model, size: int) -> str:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if run.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)

    def watch(step) -> torch.profiler.profile:
        with torch.profiler.profile(activities=activities) as profile:
            step()
            synchronize(run.device)
        return profile

    operations = evaluate(model, run.frames, size, watch).key_averages()
    return operations.table(sort_by=f"self_{run.device.type}_time_total", row_limit=LARGEST)
