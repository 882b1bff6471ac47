r"""Keyframes in quotes: `"0": "a", "12": "b"`, as FizzNodes and AnimateDiff-Evolved write them, and JSON objects.

Line ends do not matter. Braces around the text and a comma after the last prompt may be there or not, and
`0 = "a"` means `"0": "a"`. Inside quotes, `\"` is a quote and `\n` a line end, as in JSON. Keyframes
may have any order. A frame is a number, a negative number that counts from the end of the clip, a
decimal number from 0.0 to 1.0 of the clip, a range `0:16` that excludes its end, or `8:`, which holds
its prompt until the next keyframe.
"""

import re

from ...motion_modules.errors import shorten
from .json_values import JSON_EXAMPLE, find_json_value
from .keyframes import (
    FRACTION,
    FRAME,
    FROM_END,
    Keyframe,
    Place,
    Position,
    WrittenSchedule,
    check_position,
    mistake,
    split_negative,
)
from .quoted_text import Quoted, QuotedText
from .repairs import COMMAS, QUOTES, SIGNS

LONGEST_START = 200  # characters that show whether a line is of this notation
NO_FRAME = ("a frame without double quotes", "this text into `prefix` or `suffix`")
NAMES = {"pre_text": "this text into `prefix`", "app_text": "this text into `suffix`"}

_number = r"-?\d*\.?\d+|-?\d+\.?"
_start_pattern = (
    rf"\s*\{{?\s*[{QUOTES}][^{QUOTES}\n]*(?:\d|_text|max_f)[^{QUOTES}\n]*[{QUOTES}]\s*[{SIGNS}]"
    rf"|\s*\{{?\s*-?\d[\d.:]*\s*=\s*[{QUOTES}]"
    rf"|\s*\{{\s*(?:$|[{QUOTES}}}]|-?[\d.]+\s*[{SIGNS}])"
    r"|\s*\[\s*(?:$|\{?\s*\")"
)
_key_pattern = rf"\s*({_number})\s*(?:(:)\s*({_number})?\s*)?"
_bare_key_pattern = r"-?\d[\d.:\-]*(?=\s*=)"


def is_quoted(line: str) -> bool:
    """Return whether a line begins as those of this notation do."""
    return re.match(_start_pattern, line[:LONGEST_START]) is not None


def read_quoted(text: str) -> WrittenSchedule:
    """Return the keyframes of `text`, in the order of the text. Raise PromptScheduleError."""
    scanner = QuotedText(text)
    if scanner.peek() == "[":
        raise scanner.refuse("a list instead of frames and their prompts", JSON_EXAMPLE)
    is_braced = scanner.skip("{")
    keyframes: list[Keyframe] = []
    while scanner.peek() not in ("", "}"):
        keyframes.append(_read_entry(scanner))
        if not scanner.skip(COMMAS) and scanner.peek() not in ("", "}"):
            raise scanner.refuse_missing_comma()
    if scanner.skip("}") != is_braced:
        raise scanner.refuse("one brace without the other", "both braces or none")
    if scanner.peek():
        raise scanner.refuse("text after the closing brace", "all prompts before the brace")
    if not keyframes:
        raise scanner.refuse("nothing", """a prompt such as `"0": "a red circle"`""")
    return WrittenSchedule(keyframes, is_sorted=False)


def _read_entry(scanner: QuotedText) -> Keyframe:
    key = scanner.read_match(_bare_key_pattern) or scanner.read_string(*NO_FRAME)
    first, last, is_held = _read_key(key)
    if not scanner.skip(SIGNS):
        raise scanner.refuse("no colon after a frame")
    value = _read_prompt(scanner)
    return Keyframe(first, last, *split_negative(value.text.strip(), value.place), is_held=is_held)


def _read_prompt(scanner: QuotedText) -> Quoted:
    scanner.peek()
    fault = find_json_value(scanner.text, scanner.index)
    if fault:
        raise scanner.refuse(fault.actual, fault.line)
    return scanner.read_string("a prompt without double quotes")


def _read_key(key: Quoted) -> tuple[Position, Position, bool]:
    """Return the first and last frame, and whether the prompt is held until the next keyframe."""
    match = re.fullmatch(_key_pattern, key.text)
    if match is None:
        raise _refuse_key(key)
    first = _make_position(match[1], key.place)
    if match[3] is None or match[3] == match[1]:
        return first, first, match[2] is not None and match[3] is None
    return first, _make_position(match[3], key.place, shift=-1), False


def _make_position(number: str, place: Place, shift: int = 0) -> Position:
    text, value = shorten(number, 20), float(number)
    if "." in number:
        if value < 0:
            raise mistake(place, text, "a decimal number from 0.0 to 1.0")
        return check_position(Position(text, value, place, FRACTION, shift))
    return check_position(Position(text, abs(value), place, FROM_END if value < 0 else FRAME, shift))


def _refuse_key(key: Quoted) -> Exception:
    name = shorten(key.text.strip(), 40)
    if name in NAMES:
        return mistake(key.place, f"'{name}'", NAMES[name])
    if re.fullmatch(r"[\d.\s%~:\-\u2013\u2014]*", name):
        return mistake(
            key.place, f"'{name}'", """a frame such as "8", a range such as "0:16", or "8:" to hold a prompt"""
        )
    if re.search(r"max_f|\d|\bt\b", name):
        return mistake(key.place, f"the expression '{name}'", "the frame number that it stands for")
    return mistake(key.place, f"'{name}'", """frames and their prompts only, such as `"0": "a red circle"`""")
