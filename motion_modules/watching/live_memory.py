"""Meter of the memory that tensors take, on any device."""

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class LiveMemory(TorchDispatchMode):
    """Context that follows every allocation of a tensor in its block.

    `with LiveMemory() as memory: work()` leaves in `memory.peak` the largest number of bytes,
    allocated inside, that existed at one time. Tensors from before do not count, nor does freeing
    them; views and in-place operations add nothing. Works on every device, and leaves the device's
    own statistics as they are. Scratch space that a kernel allocates for itself is not seen.
    """

    def __init__(self):
        super().__init__()
        self.peak = self._current = 0
        self._live: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        result = func(*args, **(kwargs or {}))
        existing = {tensor.untyped_storage().data_ptr() for tensor in _find_tensors((args, kwargs))}
        for tensor in _find_tensors(result):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in existing and id(storage) not in self._live:
                self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        size, number = storage.nbytes(), id(storage)

        def forget(_) -> None:
            self._current -= size
            self._live.pop(number, None)

        self._live[number] = weakref.ref(storage, forget)
        self._current += size
        self.peak = max(self.peak, self._current)


def _find_tensors(values: Any) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _find_tensors(value)
    elif isinstance(values, dict):
        yield from _find_tensors(tuple(values.values()))
