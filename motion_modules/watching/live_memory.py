"""How much memory tensors take while something is calculated, on any device and without touching its own statistics."""

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class LiveMemory(TorchDispatchMode):
    """A context that follows every allocation of a tensor; `peak` is the largest sum of bytes that lived at once.

    Only what is allocated inside counts. Scratch space that a kernel takes for itself is not seen.
    """

    def __init__(self):
        super().__init__()
        self.peak = self._now = 0
        self._living: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in given and id(storage) not in self._living:
                self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        size, number = storage.nbytes(), id(storage)

        def forget(_) -> None:
            self._now -= size
            self._living.pop(number, None)

        self._living[number] = weakref.ref(storage, forget)
        self._now += size
        self.peak = max(self.peak, self._now)


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))
