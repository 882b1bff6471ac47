"""Calls and references in a pickle: what they would build, and whether their cost is that of their arguments."""

from typing import Any

import torch

from ..errors import FileFault
from .pickle_survey import (
    Built,
    Entries,
    Items,
    Name,
    PickleSurvey,
    Storage,
    make_limit_fault,
    make_unsafe_fault,
    require_kind,
)

DICTIONARIES = ("collections.OrderedDict", "collections.Counter")
FLAT_CALLS = ("builtins.complex", "torch.Size", "torch.device", "torch.serialization._get_layout")
TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3")
PARAMETER = "torch.nn.parameter.Parameter"
PARAMETERS = (PARAMETER, "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
WITH_ATTRIBUTES = "torch._tensor._rebuild_from_type_v2"
BYTES = ("encode", "bytearray")  # the ends of names in Python's own modules
ENCODINGS = ("latin1", "latin-1", "utf-8", "ascii")  # others can make a text longer with every call


def name_content(content: Any) -> str | None:
    """Return a name for the stand-in of what a file holds, or None where that may be a dictionary."""
    if isinstance(content, Entries):
        return None
    if isinstance(content, Built):
        if content.path in (*TENSORS, *PARAMETERS, WITH_ATTRIBUTES):
            return "a single tensor"
        return None if content.path in _list_registered_names() else f"one {content.path.rpartition('.')[2]}"
    names = {Items: "a list", tuple: "a tuple", str: "a text", int: "a number", float: "a number"}
    return names.get(type(content), "no weights")


def refer(survey: PickleSurvey) -> None:
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


def build(survey: PickleSurvey) -> None:
    """Check attributes that are set on what is on top of the stack."""
    survey.charge(survey.stack.pop())
    target = survey.stack[-1]
    if not isinstance(target, Entries) and not (isinstance(target, Built) and target.path in _list_registered_names()):
        raise TypeError("its pickle sets attributes of something that has none")


def create(survey: PickleSurvey) -> None:
    """Replace a class and arguments by what it would create without a call."""
    arguments, name = survey.stack.pop(), survey.stack.pop()
    survey.charge(arguments)
    if name.path != PARAMETER and name.path not in _list_registered_names():
        raise _make_call_fault(name)
    survey.stack.append(Built(name.path))


def reduce(survey: PickleSurvey) -> None:
    """Replace a function and its arguments by what a call would return."""
    arguments, name = survey.stack.pop(), survey.stack.pop()
    survey.charge(arguments)
    survey.stack.append(_call(survey, name, require_kind(arguments, tuple)))


def _call(survey: PickleSurvey, name: Any, arguments: tuple[Any, ...]) -> Any:
    """Return the stand-in of the result of a call; raise FileFault unless its cost is that of its arguments."""
    path = require_kind(name, Name).path
    if path in DICTIONARIES:
        return _copy_entries(survey, arguments)
    if path in TENSORS:
        storage, offset, shape, strides, *rest = arguments
        itemsize = _read_itemsize(rest[2]) if path == TENSORS[-1] else require_kind(storage, Storage).itemsize
        survey.add_tensor(storage, offset, shape, strides, itemsize)
    elif path == WITH_ATTRIBUTES:
        function, _, inner, _ = arguments
        if require_kind(function, Name).path not in (*TENSORS, *PARAMETERS):
            raise _make_call_fault(function)
        return _call(survey, function, inner)
    elif path == "builtins.set":
        for key in require_kind(arguments[0], Items).values if arguments else ():
            survey.check_key(key)
    elif path.rpartition(".")[2] in BYTES:
        _check_bytes(arguments)
    elif path not in (*FLAT_CALLS, *PARAMETERS) and path not in _list_registered_names():
        raise _make_call_fault(name)
    return Built(path)


def _copy_entries(survey: PickleSurvey, arguments: tuple[Any, ...]) -> Entries:
    (source,) = arguments or (Entries(),)
    if isinstance(source, Entries):
        return Entries(source.by_key, source.others)
    pairs = [tuple(require_kind(pair, Items).values) for pair in require_kind(source, Items).values]
    for key, _ in pairs:
        survey.check_key(key)
    others = [value for key, value in pairs if not isinstance(key, str)]
    return Entries({key: value for key, value in pairs if isinstance(key, str)}, others)


def _check_bytes(arguments: tuple[Any, ...]) -> None:
    """Refuse a number of bytes, and an encoding that makes its text longer with every call."""
    is_text = len(arguments) == 2 and isinstance(arguments[0], str) and arguments[1] in ENCODINGS
    if arguments and not is_text and not (len(arguments) == 1 and isinstance(arguments[0], (str, Built))):
        raise make_limit_fault("its pickle builds bytes in an unusual way")


def _list_registered_names() -> set[str]:
    """Return the names that the host and other packs have declared safe."""
    registered = getattr(torch.serialization, "get_safe_globals", list)()  # torch 2.3 has none
    return {each[1] if isinstance(each, tuple) else f"{each.__module__}.{each.__qualname__}" for each in registered}


def _make_call_fault(name: Name) -> FileFault:
    path = require_kind(name, Name).path
    if not path.startswith("torch."):
        return make_unsafe_fault()
    return FileFault(f"has tensors of a special kind ('{path[:100]}'). Save it again with plain tensors.")
