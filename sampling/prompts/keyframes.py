"""Keyframes of a prompt schedule as they are written, in any notation, and the mistakes in them."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...motion_modules.errors import LoomError, shorten

FRAME, PERCENT, FRACTION, FROM_END = "frame", "percent", "fraction", "from end"
LARGEST_FRAME = 10**9

_negative_pattern = r"(?i)(?:--|[\u2013\u2014]|\uff0d\uff0d)(?:neg(\w*)|\s+neg\b)|--\s+neg(ative)\b"
_expression_pattern = r"`([^`\r\n]*)`"


class PromptScheduleError(LoomError):
    """A mistake in a prompt schedule: its line and column, and what to write there."""


@dataclass(frozen=True)
class Place:
    """A place in an input, counted from 1 as in an editor."""

    line: int
    column: int
    input: str = "text"


@dataclass(frozen=True)
class Position:
    """A frame as it is written; `shift` is -1 at the end of a range that excludes its end."""

    text: str
    value: float
    place: Place
    unit: str = FRAME
    shift: int = 0


@dataclass(frozen=True)
class Keyframe:
    """A prompt from one position to another. A held one lasts until the next keyframe."""

    first: Position
    last: Position
    prompt: str
    negative: str = ""
    followed_by_dots: bool = False
    is_held: bool = False


@dataclass(frozen=True)
class WrittenSchedule:
    """The keyframes of a text. Some notations allow any order."""

    keyframes: Sequence[Keyframe]
    is_sorted: bool = True


def mistake(place: Place, actual: str, expected: str) -> PromptScheduleError:
    where = f"line {place.line}, column {place.column}"
    subject = f"The schedule in `{place.input}`" if place.input == "text" else f"`{place.input}`"
    return PromptScheduleError(f"{subject} has {actual} in {where}. Write {expected}.")


def locate(position: Position, frames: int, start_frame: int) -> int:
    """Return the frame of the schedule. Raise PromptScheduleError when it depends on an unknown length."""
    if position.unit == FRAME:
        return int(position.value) + position.shift
    if start_frame:
        expected = f"a frame number, since `start_frame` is {start_frame} and the length of the schedule is unknown"
        raise mistake(position.place, position.text, expected)
    if position.unit == PERCENT:
        return math.floor(position.value / 100 * (frames - 1) + 0.5)
    if position.unit == FRACTION:
        return min(int(position.value * frames), frames - 1) + position.shift
    if position.value > frames:
        raise mistake(position.place, position.text, f"a frame of at least -{frames}, or raise `frames`")
    return frames - int(position.value) + position.shift


def check_position(position: Position) -> Position:
    """Raise PromptScheduleError for a value that no clip has."""
    limits = {PERCENT: (100, "a percentage of up to 100%"), FRACTION: (1, "a decimal number from 0.0 to 1.0")}
    largest, expected = limits.get(position.unit, (LARGEST_FRAME, f"a frame of up to {LARGEST_FRAME}"))
    if position.unit not in limits and not position.value.is_integer() and math.isfinite(position.value):
        raise mistake(position.place, position.text, "a whole frame number")
    if position.value > largest:
        raise mistake(position.place, position.text, expected)
    return position


def split_negative(text: str, place: Place) -> tuple[str, str]:
    """Return the prompt before `--neg` and the negative prompt after it.

    Raise PromptScheduleError for a second `--neg`, and for expressions.
    """
    check_expressions(text, place)
    flags = list(re.finditer(_negative_pattern, text))
    for number, flag in enumerate(flags):
        if flag[1] or flag[2]:
            raise mistake(_move(place, text, flag.start()), f"'{shorten(flag[0], 20)}'", "'--neg', then a space")
        if number:
            raise mistake(
                _move(place, text, flag.start()), f"a second '{flag[0]}'", "all negative prompts after the first"
            )
    if not flags:
        return text, ""
    return text[: flags[0].start()].strip(), text[flags[0].end() :].strip()


def check_expressions(text: str, place: Place) -> None:
    """Refuse a formula between backticks, which other nodes calculate for each frame."""
    expression = re.search(_expression_pattern, text)
    if expression:
        actual = f"the expression '{shorten(expression[1], 40)}'"
        raise mistake(_move(place, text, expression.start()), actual, "a number instead, with one line per change")


def _move(place: Place, text: str, index: int) -> Place:
    """Return the place of `text[index]`, where `text` starts at `place`."""
    before = text[:index]
    if "\n" not in before:
        return replace(place, column=place.column + index)
    return replace(place, line=place.line + before.count("\n"), column=index - before.rfind("\n"))


def join_affixes(prefix: str, prompt: str, suffix: str) -> str:
    """Return the prompt with prefix and suffix, separated by one comma; those without content are left out."""
    if not strip_commas(prefix) and not strip_commas(suffix):
        return prompt
    return ", ".join(filter(None, map(strip_commas, (prefix, prompt, suffix))))


def strip_commas(part: str) -> str:
    return part.strip(" \t\r\n,\u3000\uff0c")
