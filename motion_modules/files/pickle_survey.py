"""Survey of a pickle before the host reads it: what it would build, with a stand-in for every value.

The host's safe unpickler runs no code, but a few bytes can still cost it all memory or hours:
containers that hold each other, sizes without data, calls that copy. `PickleSurvey` walks through
the instructions of a pickle, each of which is a function on the survey (pickle_instructions.py), and
refuses a pickle that costs more than the limits below.
"""

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload

from ..errors import FileFault

SAFE_PROTOCOL = 2  # of pickle: PyTorch's default, and the only one that it reads without running code
LARGEST_COST = 500_000  # instructions, and values that calls copy: a UNet with its optimiser costs 150,000
CONTAINER_COST = 5  # of a new list or dictionary, which takes more memory and time than other values
LARGEST_DEPTH = 200  # of open marks: PyTorch's own files need 10
LARGEST_SHARE = 4  # bytes of all tensors for one byte of the file: tensors may share memory
SMALLEST_LIMIT = 2**26  # bytes of all tensors that any file may have
LARGEST_KEY = 2**60  # larger whole numbers can have equal hashes
ODD_KEYS = 1000  # keys of dictionaries that are neither text nor small numbers

STOP = pickle.STOP[0]


class Bytes(Protocol):
    """A file or a part of one: bytes, or a memory map."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> int: ...
    @overload
    def __getitem__(self, index: slice, /) -> bytes: ...
    def find(self, sub: bytes, start: int, end: int, /) -> int: ...


@dataclass(frozen=True)
class Name:
    """A class or function, by its full name."""

    path: str


@dataclass(frozen=True)
class Built:
    """Result of calling the function `path`."""

    path: str


@dataclass(frozen=True)
class Storage:
    """Memory of tensors: its size in bytes and that of one element."""

    size: int
    itemsize: int


class Items:
    """A list."""

    __slots__ = ("values",)

    def __init__(self):
        self.values: list[Any] = []


class Entries:
    """A dictionary: values by those keys that are text, and all others."""

    __slots__ = ("by_key", "others")

    def __init__(self, by_key: Mapping[str, Any] | None = None, others: Sequence[Any] = ()):
        self.by_key = dict(by_key or {})
        self.others = list(others)

    @property
    def values(self) -> Sequence[Any]:
        return [*self.by_key.values(), *self.others]


class PickleSurvey:
    """Survey of the pickles of one file of `size` bytes, which share all limits, by `instructions`.

    An instruction is a function by its code. `storages` are the sizes in bytes of what the pickles
    claim to have in the file, by key. `cost` is that of all instructions so far.
    """

    def __init__(self, size: int, instructions: Mapping[int, Callable[["PickleSurvey"], None]]):
        self.size, self.instructions = size, instructions
        self.storages: dict[str, int] = {}
        self.cost = self._odd_keys = self._tensor_bytes = 0

    def read(self, data: Bytes, position: int = 0) -> tuple[Any, int]:
        """Return the stand-in of the pickle at `position` of `data`, and the position after it.

        Raises FileFault at a limit and at code, and IndexError, KeyError, TypeError, ValueError or
        struct.error at damage.
        """
        self.data, self.position = data, position
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.protocol = SAFE_PROTOCOL
        while (code := data[self.position]) != STOP:
            self.position += 1
            self.cost += 1
            if self.cost > LARGEST_COST:
                raise make_limit_fault(f"its pickle needs more than {LARGEST_COST} steps")
            instruction = self.instructions.get(code)
            if instruction is None:
                raise self._make_instruction_fault(code)
            instruction(self)
        return self.stack.pop(), self.position + 1

    def _make_instruction_fault(self, code: int) -> Exception:
        if self.protocol > SAFE_PROTOCOL:
            return FileFault(
                f"is a pickle of protocol {self.protocol}, of which PyTorch reads protocol {SAFE_PROTOCOL} safely. "
                "Save it again as .safetensors."
            )
        return ValueError(f"unknown instruction {code} in its pickle")

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        start, self.position = self.position, self.position + count
        if self.position > len(self.data):
            raise ValueError("its pickle is cut short")
        return self.data[start : self.position]

    def pop_mark(self) -> list[Any]:
        """Return the values since the last mark."""
        values, self.stack = self.stack, self.marks.pop()
        return values

    def charge(self, value: Any) -> None:
        """Count all values in `value`, those of a container that it holds twice also twice."""
        pending = [value]
        while pending:
            each = pending.pop()
            self.cost += 1 + (len(each) // 16 if isinstance(each, str) else 0)
            if self.cost > LARGEST_COST:
                raise make_limit_fault(f"its pickle needs more than {LARGEST_COST} steps")
            if isinstance(each, tuple):
                pending.extend(each)
            elif isinstance(each, (Items, Entries)):
                pending.extend(each.values)

    def check_key(self, key: Any) -> None:
        """Refuse a key of a dictionary that takes long to hash or to find."""
        if isinstance(key, str) or (type(key) is int and abs(key) < LARGEST_KEY):
            return
        self._odd_keys += 1
        self.charge(key)
        flat = key if isinstance(key, tuple) else (key,)
        if self._odd_keys > ODD_KEYS or any(isinstance(each, (tuple, Items, Entries)) for each in flat):
            raise make_limit_fault("its dictionaries have keys that are neither text nor numbers")

    def add_storage(self, key: str, size: int, itemsize: int) -> Storage:
        """Return the storage `key`; the first claim of its size holds."""
        if type(key) is not str or type(size) is not int or size < 0:
            raise ValueError("its pickle refers to weights in an unknown way")
        return Storage(min(size, self.storages.setdefault(key, size)), itemsize)

    def add_tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, itemsize: int) -> None:
        """Refuse a tensor that is larger than its storage, and tensors that are larger than the file."""
        if not isinstance(storage, Storage) or not all(type(each) is int for each in (offset, *shape, *strides)):
            raise ValueError("its pickle describes a tensor in an unknown way")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        count = 1
        for each in shape:
            count *= each
        if min((offset, *shape, *strides)) < 0 or (count and (last + 1) * itemsize > storage.size):
            raise ValueError(f"it has a tensor of shape {list(shape)[:8]}, but only {storage.size} bytes for it")
        self._tensor_bytes += count * itemsize
        if self._tensor_bytes > max(SMALLEST_LIMIT, LARGEST_SHARE * self.size):
            raise make_limit_fault(f"its tensors take {self._tensor_bytes} bytes, though the file has {self.size}")


def require_kind(value: Any, kind: type) -> Any:
    """Return `value`; raise TypeError where it is not of this `kind`."""
    if not isinstance(value, kind):
        raise TypeError("its pickle fills something that is not a container")
    return value


def make_limit_fault(reason: str) -> FileFault:
    """Return the fault of a file that would cost too much time or memory, for a `reason` as a clause."""
    return FileFault(f"cannot be read safely, since {reason}. Download a .safetensors version.")


def make_unsafe_fault() -> FileFault:
    """Return the fault of a pickle that contains code."""
    return FileFault("contains Python code besides tensors, which is never run. Download a .safetensors version.")
