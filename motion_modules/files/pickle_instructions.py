"""Instructions of a pickle, on stand-ins: those that the host's safe unpickler knows, by their codes.

Their names are those of Python's `pickle`.
"""

import pickle
import struct
from collections.abc import Callable
from typing import Any

from .pickle_calls import build, create, reduce, refer
from .pickle_survey import (
    CONTAINER_COST,
    LARGEST_DEPTH,
    Built,
    Entries,
    Items,
    Name,
    PickleSurvey,
    make_limit_fault,
    require_kind,
)


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
    require_kind(survey.stack[-1], Items).values.append(value)


def _extend(survey: PickleSurvey) -> None:
    values = survey.pop_mark()
    require_kind(survey.stack[-1], Items).values.extend(values)


def _set_item(survey: PickleSurvey) -> None:
    value, key = survey.stack.pop(), survey.stack.pop()
    _set(survey, key, value)


def _set_items(survey: PickleSurvey) -> None:
    values = survey.pop_mark()
    for key, value in zip(values[::2], values[1::2], strict=True):
        _set(survey, key, value)


def _set(survey: PickleSurvey, key: Any, value: Any) -> None:
    survey.check_key(key)
    entries = require_kind(survey.stack[-1], Entries)
    if isinstance(key, str):
        entries.by_key[key] = value
    else:
        entries.others.append(value)


INSTRUCTIONS: dict[int, Callable[[PickleSurvey], None]] = {
    code[0]: instruction
    for code, instruction in (
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
        (pickle.BINPERSID, refer),
        (pickle.BUILD, build),
        (pickle.NEWOBJ, create),
        (pickle.REDUCE, reduce),
    )
}
