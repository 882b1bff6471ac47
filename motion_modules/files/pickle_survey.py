"""Survey of a pickle before the host reads it: what it would build, with a stand-in for every value.

The host's safe unpickler runs no code, but a few bytes can still cost it all memory or hours:
containers that hold each other, sizes without data, calls that copy. `PickleSurvey` walks through
the instructions that this unpickler knows, and refuses a pickle that costs more than the limits
below. Names of instructions are those of Python's `pickle`.
"""

import pickle
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload

import torch

from ..errors import FileFault

SAFE_PROTOCOL = 2  # of pickle: PyTorch's default, and the only one that it reads without running code
LARGEST_COST = 500_000  # instructions, and values that calls copy: a UNet with its optimiser costs 150,000
CONTAINER_COST = 5  # of a new list or dictionary, which takes more memory and time than other values
LARGEST_DEPTH = 200  # of open marks: PyTorch's own files need 10
LARGEST_SHARE = 4  # bytes of all tensors for one byte of the file: tensors may share memory
SMALLEST_LIMIT = 2**26  # bytes of all tensors that any file may have
LARGEST_KEY = 2**60  # larger whole numbers can have equal hashes
ODD_KEYS = 1000  # keys of dictionaries that are neither text nor small numbers

DICTIONARIES = ("collections.OrderedDict", "collections.Counter")
FLAT_CALLS = ("builtins.complex", "torch.Size", "torch.device", "torch.serialization._get_layout")
TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3")
PARAMETER = "torch.nn.parameter.Parameter"
PARAMETERS = (PARAMETER, "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
WITH_ATTRIBUTES = "torch._tensor._rebuild_from_type_v2"
BYTES = ("encode", "bytearray")  # the ends of names in Python's own modules
ENCODINGS = ("latin1", "latin-1", "utf-8", "ascii")  # others can make a text longer with every call


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
    """Survey of the pickles of one file of `size` bytes, which share all limits.

    `storages` are the sizes in bytes of what the pickles claim to have in the file, by key. `cost`
    is that of all instructions so far.
    """

    def __init__(self, size: int):
        self.size = size
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
            operation = _operations.get(code)
            if operation is None:
                raise self._make_instruction_fault(code)
            operation(self)
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


def name_content(content: Any) -> str | None:
    """Return a name for the stand-in of what a file holds, or None where that may be a dictionary."""
    if isinstance(content, Entries):
        return None
    if isinstance(content, Built):
        if content.path in (*TENSORS, *PARAMETERS, WITH_ATTRIBUTES):
            return "a single tensor"
        return None if content.path in _registered_names() else f"one {content.path.rpartition('.')[2]}"
    names = {Items: "a list", tuple: "a tuple", str: "a text", int: "a number", float: "a number"}
    return names.get(type(content), "no weights")


def make_limit_fault(reason: str) -> FileFault:
    """Return the fault of a file that would cost too much time or memory, for a `reason` as a clause."""
    return FileFault(f"cannot be read safely, since {reason}. Download a .safetensors version.")


def make_unsafe_fault() -> FileFault:
    """Return the fault of a pickle that contains code."""
    return FileFault("contains Python code besides tensors, which is never run. Download a .safetensors version.")


def _set_protocol(survey: PickleSurvey) -> None:
    survey.protocol = survey.take(1)[0]


def _mark(survey: PickleSurvey) -> None:
    survey.marks.append(survey.stack)
    survey.stack = []
    if len(survey.marks) > LARGEST_DEPTH:
        raise make_limit_fault(f"its pickle is nested more than {LARGEST_DEPTH} deep")


def _push(value: Any) -> Callable[[PickleSurvey], None]:
    return lambda survey: survey.stack.append(value)


def _push_new(kind: Callable[[], Any]) -> Callable[[PickleSurvey], None]:
    def push(survey: PickleSurvey) -> None:
        survey.cost += CONTAINER_COST
        survey.stack.append(kind())

    return push


def _push_number(layout: str) -> Callable[[PickleSurvey], None]:
    packed = struct.Struct(layout)
    return lambda survey: survey.stack.append(packed.unpack(survey.take(packed.size))[0])


def _push_long(survey: PickleSurvey) -> None:
    survey.stack.append(int.from_bytes(survey.take(survey.take(1)[0]), "little", signed=True))


def _push_text(layout: str) -> Callable[[PickleSurvey], None]:
    packed = struct.Struct(layout)

    def push(survey: PickleSurvey) -> None:
        (length,) = packed.unpack(survey.take(packed.size))
        survey.stack.append(survey.take(length).decode("utf-8", "surrogatepass"))

    return push


def _push_name(survey: PickleSurvey) -> None:
    parts = []
    for _ in range(2):
        end = survey.data.find(b"\n", survey.position, survey.position + 1000)
        if end < 0:
            raise ValueError("a name in its pickle has no end")
        parts.append(survey.take(end - survey.position).decode())
        survey.position += 1
    survey.stack.append(Name(".".join(parts).replace("__builtin__.", "builtins.")))


def _get(layout: str) -> Callable[[PickleSurvey], None]:
    packed = struct.Struct(layout)
    return lambda survey: survey.stack.append(survey.memo[packed.unpack(survey.take(packed.size))[0]])


def _put(layout: str) -> Callable[[PickleSurvey], None]:
    packed = struct.Struct(layout)

    def put(survey: PickleSurvey) -> None:
        survey.memo[packed.unpack(survey.take(packed.size))[0]] = survey.stack[-1]

    return put


def _make_tuple(survey: PickleSurvey) -> None:
    values = survey.pop_mark()
    survey.stack.append(tuple(values))


def _make_short_tuple(length: int) -> Callable[[PickleSurvey], None]:
    def make(survey: PickleSurvey) -> None:
        if len(survey.stack) < length:
            raise IndexError("its pickle lacks values")
        survey.stack[-length:] = [tuple(survey.stack[-length:])]

    return make


def _append(survey: PickleSurvey) -> None:
    value = survey.stack.pop()
    _require(survey.stack[-1], Items).values.append(value)


def _extend(survey: PickleSurvey) -> None:
    values = survey.pop_mark()
    _require(survey.stack[-1], Items).values.extend(values)


def _set_item(survey: PickleSurvey) -> None:
    value, key = survey.stack.pop(), survey.stack.pop()
    _set(survey, key, value)


def _set_items(survey: PickleSurvey) -> None:
    values = survey.pop_mark()
    for key, value in zip(values[::2], values[1::2], strict=True):
        _set(survey, key, value)


def _set(survey: PickleSurvey, key: Any, value: Any) -> None:
    survey.check_key(key)
    entries = _require(survey.stack[-1], Entries)
    if isinstance(key, str):
        entries.by_key[key] = value
    else:
        entries.others.append(value)


def _require(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError("its pickle fills something that is not a container")
    return value


def _refer(survey: PickleSurvey) -> None:
    """Replace a reference to a storage, as `torch.save` writes it, by that storage."""
    word, kind, key, _, count, *view = survey.stack.pop()
    if word != "storage" or type(count) is not int:
        raise ValueError("its pickle refers to something that is not weights")
    itemsize = _read_itemsize(kind)
    storage = survey.add_storage(key, count * itemsize, itemsize)
    if view and view[0] is not None:
        _, start, length = view[0]
        if not 0 <= start <= start + length <= count:
            raise ValueError("its pickle refers to weights outside of their storage")
        storage = Storage(length * itemsize, itemsize)
    survey.stack.append(storage)


def _read_itemsize(kind: Name) -> int:
    """Return the bytes of one element of a storage class or a dtype."""
    name = kind.path.rpartition(".")[2]
    if name == "UntypedStorage":
        return 1
    dtype = getattr(torch, name, None)
    dtype = dtype if isinstance(dtype, torch.dtype) else torch.serialization.StorageType(name).dtype
    return dtype.itemsize


def _build(survey: PickleSurvey) -> None:
    """Check attributes that are set on what is on top of the stack."""
    survey.charge(survey.stack.pop())
    target = survey.stack[-1]
    if not isinstance(target, Entries) and not (isinstance(target, Built) and target.path in _registered_names()):
        raise TypeError("its pickle sets attributes of something that has none")


def _create(survey: PickleSurvey) -> None:
    arguments, name = survey.stack.pop(), survey.stack.pop()
    survey.charge(arguments)
    if name.path != PARAMETER and name.path not in _registered_names():
        raise _make_call_fault(name)
    survey.stack.append(Built(name.path))


def _reduce(survey: PickleSurvey) -> None:
    arguments, name = survey.stack.pop(), survey.stack.pop()
    survey.charge(arguments)
    survey.stack.append(_call(survey, name, _require(arguments, tuple)))


def _call(survey: PickleSurvey, name: Any, arguments: tuple[Any, ...]) -> Any:
    """Return the stand-in of the result of a call; raise FileFault unless its cost is that of its arguments."""
    path = _require(name, Name).path
    if path in DICTIONARIES:
        return _copy_entries(survey, arguments)
    if path in TENSORS:
        storage, offset, shape, strides, *rest = arguments
        itemsize = _read_itemsize(rest[2]) if path == TENSORS[-1] else _require(storage, Storage).itemsize
        survey.add_tensor(storage, offset, shape, strides, itemsize)
    elif path == WITH_ATTRIBUTES:
        function, _, inner, _ = arguments
        if _require(function, Name).path not in (*TENSORS, *PARAMETERS):
            raise _make_call_fault(function)
        return _call(survey, function, inner)
    elif path == "builtins.set":
        for key in _require(arguments[0], Items).values if arguments else ():
            survey.check_key(key)
    elif path.rpartition(".")[2] in BYTES:
        _check_bytes(arguments)
    elif path not in (*FLAT_CALLS, *PARAMETERS) and path not in _registered_names():
        raise _make_call_fault(name)
    return Built(path)


def _copy_entries(survey: PickleSurvey, arguments: tuple[Any, ...]) -> Entries:
    (source,) = arguments or (Entries(),)
    if isinstance(source, Entries):
        return Entries(source.by_key, source.others)
    pairs = [tuple(_require(pair, Items).values) for pair in _require(source, Items).values]
    for key, _ in pairs:
        survey.check_key(key)
    others = [value for key, value in pairs if not isinstance(key, str)]
    return Entries({key: value for key, value in pairs if isinstance(key, str)}, others)


def _check_bytes(arguments: tuple[Any, ...]) -> None:
    """Refuse a number of bytes, and an encoding that makes its text longer with every call."""
    is_text = len(arguments) == 2 and isinstance(arguments[0], str) and arguments[1] in ENCODINGS
    if arguments and not is_text and not (len(arguments) == 1 and isinstance(arguments[0], (str, Built))):
        raise make_limit_fault("its pickle builds bytes in an unusual way")


def _registered_names() -> set[str]:
    """Return the names that the host and other packs have declared safe."""
    registered = getattr(torch.serialization, "get_safe_globals", list)()  # torch 2.3 has none
    return {each[1] if isinstance(each, tuple) else f"{each.__module__}.{each.__qualname__}" for each in registered}


def _make_call_fault(name: Name) -> FileFault:
    path = _require(name, Name).path
    if not path.startswith("torch."):
        return make_unsafe_fault()
    return FileFault(f"has tensors of a special kind ('{path[:100]}'). Save it again with plain tensors.")


STOP = pickle.STOP[0]
_operations: dict[int, Callable[[PickleSurvey], None]] = {
    code[0]: operation
    for code, operation in (
        (pickle.PROTO, _set_protocol),
        (pickle.MARK, _mark),
        (pickle.NONE, _push(None)),
        (pickle.NEWTRUE, _push(True)),
        (pickle.NEWFALSE, _push(False)),
        (pickle.EMPTY_TUPLE, _push(())),
        (pickle.EMPTY_LIST, _push_new(Items)),
        (pickle.EMPTY_DICT, _push_new(Entries)),
        (pickle.EMPTY_SET, _push_new(lambda: Built("builtins.set"))),
        (pickle.BININT, _push_number("<i")),
        (pickle.BININT1, _push_number("<B")),
        (pickle.BININT2, _push_number("<H")),
        (pickle.BINFLOAT, _push_number(">d")),
        (pickle.LONG1, _push_long),
        (pickle.BINUNICODE, _push_text("<I")),
        (pickle.SHORT_BINSTRING, _push_text("<B")),
        (pickle.GLOBAL, _push_name),
        (pickle.BINGET, _get("<B")),
        (pickle.LONG_BINGET, _get("<I")),
        (pickle.BINPUT, _put("<B")),
        (pickle.LONG_BINPUT, _put("<I")),
        (pickle.TUPLE, _make_tuple),
        (pickle.TUPLE1, _make_short_tuple(1)),
        (pickle.TUPLE2, _make_short_tuple(2)),
        (pickle.TUPLE3, _make_short_tuple(3)),
        (pickle.APPEND, _append),
        (pickle.APPENDS, _extend),
        (pickle.SETITEM, _set_item),
        (pickle.SETITEMS, _set_items),
        (pickle.BINPERSID, _refer),
        (pickle.BUILD, _build),
        (pickle.NEWOBJ, _create),
        (pickle.REDUCE, _reduce),
    )
}
