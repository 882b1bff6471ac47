"""Devices of the host's MultiGPU nodes, which keep a copy of the model on each, and the windows that fit in memory.

Without those nodes there is no device in the list, and windows are evaluated in the calling thread.
"""

from collections.abc import Callable, Mapping

import torch

MEMORY_MARGIN = 1.5  # the host's own, when it decides how many conds to evaluate at once
CLONES, POOL = "multigpu_clones", "multigpu_thread_pool"


def list_devices(model_options: dict) -> list[torch.device]:
    return list(model_options.get(CLONES, {})) if POOL in model_options else []


def restrict_to_device(model_options: dict, device: torch.device) -> dict:
    """Return `model_options` for an evaluation by the copy of the model on `device`, in any thread."""
    options = {**model_options, CLONES: {device: model_options[CLONES][device]}}
    del options[POOL]
    return options


def run_on_devices(model_options: dict, tasks: Mapping[torch.device, Callable[[], list[torch.Tensor]]]) -> list:
    """Run one task per device at the same time, in the host's own threads, and return the results in order."""
    pool = model_options[POOL]
    for device, task in tasks.items():
        pool.submit(device, task)
    results = [pool.get_result(device) for device in tasks]
    for _, error in results:
        if error is not None:
            raise error
    return [result for result, _ in results]


def count_fitting_windows(model, model_options: dict, window_shape: list[int], device: torch.device, limit: int) -> int:
    """Return how many windows, up to `limit`, the host's estimate has memory for on every device, but at least one.

    `window_shape` is that of one window with all conds in one batch. `device` is the one without
    MultiGPU nodes.
    """
    clones = {device: model_options[CLONES][device] for device in list_devices(model_options)}
    patchers = clones or {device: model.current_patcher}
    free_memory = min(patcher.get_free_memory(device) for device, patcher in patchers.items())
    batch, *sizes = window_shape
    for count in range(limit, 1, -1):
        if model.memory_required([count * batch, *sizes]) * MEMORY_MARGIN < free_memory:
            return count
    return 1
