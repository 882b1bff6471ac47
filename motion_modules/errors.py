"""Errors that users read, and descriptions of errors of other code."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

_long_quotation = r"('[^']{200})[^']+'"

LONGEST_QUOTE = 300  # letters of an input, or of a message of other code, in an error


class LoomError(ValueError):
    """Bad input: names the input, its value and a remedy, in one or two sentences."""


class MotionModelError(LoomError):
    """A motion model, or a module of one, that cannot be used."""


def require_finite(settings: Any) -> None:
    """Raise LoomError when a float of the dataclass `settings`, which has the names of inputs, is NaN or infinite.

    The host checks inputs against their limits, which a NaN passes, and does not check linked ones.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise LoomError(f"`{field.name}` is {value}, but must be a finite number. Change `{field.name}`.")


class FileFault(Exception):
    """A fault of a file, as a sentence without its subject: "holds no motion modules. …".

    `name_file_in_errors` puts the name of the file before it.
    """


@contextmanager
def name_file_in_errors(kind: str, name: str) -> Iterator[None]:
    """Raise a FileFault as MotionModelError, with the file `name` of this `kind` before it.

    Long names of tensors are shortened.
    """
    try:
        yield
    except FileFault as fault:
        sentence = re.sub(_long_quotation, r"\1…'", str(fault))
        raise MotionModelError(f"{kind} '{name}' {sentence}") from fault


def shorten(text: str, length: int = LONGEST_QUOTE) -> str:
    """Return `text` for an error, cut where it is longer than `length`."""
    return text if len(text) <= length else f"{text[:length]}\u2026"


def describe_cause(error: Exception) -> str:
    """Return the first sentence of the message of an error of other code, without its full stop, or the class."""
    return _first_sentence(error) or type(error).__name__


def describe_error(error: Exception) -> str:
    """Return the class of an error of other code, and in brackets the first sentence of its message."""
    return f"{type(error).__name__} ({_first_sentence(error) or 'no message'})"


def _first_sentence(error: Exception) -> str:
    return shorten(str(error).partition("\n")[0].partition(". ")[0].rstrip(".:"))
