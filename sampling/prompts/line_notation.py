"""The notation of this pack, one `frames: prompt` per line, with the head and tail lines of the web UI.

Frames are a number, a range `12-20`, or percentages of the clip. A line of three dots between two
prompts blends them even with the easing `hold`. Lines before the first keyframe are put before every
prompt and lines after the last one after it, as AUTOMATIC1111's AnimateDiff extension does.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from ...motion_modules.errors import shorten
from .keyframes import (
    FRAME,
    PERCENT,
    Keyframe,
    Place,
    Position,
    PromptScheduleError,
    WrittenSchedule,
    check_position,
    join_affixes,
    mistake,
    split_negative,
    strip_commas,
)
from .repairs import QUOTES, repair_line, repair_prompt

EXAMPLE = "'0: a red circle'"
COLONS = ":\uff1a"
DASHES = "-~\u2013\u2014\uff0d\uff5e"
LONGEST_FRAMES = 200  # characters before the colon of a line
NAMES = {
    "negative prompt": "'--neg' and the negative prompt after a prompt",
    "steps": "prompts only",
    "pre_text": "this text into `prefix`",
    "app_text": "this text into `suffix`",
    "max_f": "a frame number or a percentage",
}

_position_pattern = r"\s*((\d+(?:\.\d+)?)\s*([%\uff05]?))\s*"
_keyframe_pattern = rf"\s*\d[\d.\s%\uff05{re.escape(DASHES)}]*[{COLONS}]"
_dots_pattern = r"\s*(\.{3,}|\u2026+|\u3002{3,})\s*"
_bare_number_pattern = rf"\d+(?:\.\d+)?(?:\s*[%\uff05]|\s+|\s*=|\s*[{re.escape(DASHES)}]\s*\d|$)"
_almost_keyframe_pattern = rf"\W*(?:[^\W\d]+\W*)?\d+\s?[%\uff05]?\s?[{COLONS}]"
_name_pattern = rf"(?i)({'|'.join(NAMES)})\b[^,]*[{COLONS}]"

Line = tuple[int, str]


def read_lines(lines: Sequence[Line]) -> WrittenSchedule:
    """Return the keyframes of `lines`, with head and tail lines in their prompts. Raise PromptScheduleError."""
    indices = [index for index, (_, line) in enumerate(lines) if _is_keyframe(line)]
    first, last = (indices[0], indices[-1] + 1) if indices else (0, len(lines))
    head, tail = _read_affixes(lines[:first]), _read_affixes(lines[last:])
    keyframes = _read_keyframes(lines[first:last])
    if not keyframes:
        raise mistake(Place(1, 1), "nothing", f"a line such as {EXAMPLE}")
    return WrittenSchedule([_add_affixes(keyframe, head, tail) for keyframe in keyframes])


def _is_keyframe(line: str) -> bool:
    return bool(re.match(_keyframe_pattern, line[:LONGEST_FRAMES]) or re.fullmatch(_dots_pattern, line))


def _read_keyframes(lines: Sequence[Line]) -> list[Keyframe]:
    keyframes: list[Keyframe] = []
    open_dots: Place | None = None
    for number, line in lines:
        dots = _find_dots(number, line)
        if dots and not keyframes:
            raise mistake(dots, "dots", "a prompt before the dots")
        if dots:
            keyframes[-1], open_dots = replace(keyframes[-1], followed_by_dots=True), dots
        else:
            keyframes.append(_read_keyframe(line, number))
            open_dots = None
    if open_dots:
        raise mistake(open_dots, "dots", "another prompt after the dots")
    return keyframes


def _find_dots(number: int, line: str) -> Place | None:
    dots = re.fullmatch(_dots_pattern, line)
    return Place(number, dots.start(1) + 1) if dots else None


def _read_keyframe(line: str, number: int) -> Keyframe:
    positions, end = _read_positions(line, number)
    place, prompt = _first_place(line, number, end), line[end:].strip()
    if not prompt:
        raise mistake(Place(number, end + 1), "nothing", "a prompt")
    fault = repair_prompt(prompt, line[: end - 1].strip())
    if fault:
        raise mistake(place, fault.actual, f"`{shorten(fault.line)}`")
    return Keyframe(positions[0], positions[-1], *split_negative(prompt, place))


def _read_positions(line: str, number: int) -> tuple[list[Position], int]:
    """Return the frame, or the first and last frame, and the index after the colon."""
    positions: list[Position] = []
    start = 0
    for separators, expected in ((DASHES + COLONS, "a dash or a colon"), (COLONS, "a colon")):
        match = re.match(_position_pattern, line[start:])
        if match is None:
            raise _refuse_position(line, _first_place(line, number, start))
        positions.append(_make_position(match, Place(number, start + match.start(1) + 1)))
        end = start + match.end()
        start, separator = end + 1, line[end : end + 1]
        if not separator or separator not in separators:
            raise mistake(Place(number, start), _quote(line, end), expected)
        if separator in COLONS:
            break
    return positions, start


def _refuse_position(line: str, place: Place) -> PromptScheduleError:
    name = re.match(_name_pattern, line.strip()[:LONGEST_FRAMES])
    if name:
        return mistake(place, f"'{name[1]}'", NAMES[name[1].lower()])
    repaired = repair_line(line)
    is_quoted = repaired is not None and any(quote in line for quote in QUOTES)
    frame = f"a frame number or a percentage, as in {EXAMPLE}"
    return mistake(place, _quote(line, place.column - 1), f"`{shorten(repaired)}`" if repaired and is_quoted else frame)


def _make_position(match: re.Match, place: Place) -> Position:
    text = shorten(match[1].strip(), 20)
    return check_position(Position(text, float(match[2]), place, PERCENT if match[3] else FRAME))


def _read_affixes(lines: Sequence[Line]) -> tuple[str, str]:
    """Return the text and the negative prompt of head or tail lines. Raise PromptScheduleError for other lines."""
    prompts: list[str] = []
    negatives: list[str] = []
    for number, line in lines:
        place = _first_place(line, number)
        _check_affix(line, place)
        prompt, negative = split_negative(line.strip(), place)
        prompts.append(strip_commas(prompt))
        negatives.append(strip_commas(negative))
    return ", ".join(filter(None, prompts)), ", ".join(filter(None, negatives))


def _check_affix(line: str, place: Place) -> None:
    """Refuse a head or tail line that was meant as something else."""
    start = line.strip()[:LONGEST_FRAMES]
    bare = re.match(_bare_number_pattern, start)
    if bare:
        text = line.strip()[bare.end() :].strip(" =\t")
        expected = f"`{start[: bare.end()].strip(' =')}: {shorten(text)}`, or put the text into `prefix` or `suffix`"
        raise mistake(place, "a number without a colon", expected)
    is_frame = any(re.match(pattern, start) for pattern in (_name_pattern, _almost_keyframe_pattern))
    if is_frame or not re.search(r"\w", line):
        raise _refuse_position(line, place)


def _first_place(line: str, number: int, start: int = 0) -> Place:
    """Return the place of the first character from the index `start` that is no blank."""
    rest = line[start:]
    return Place(number, start + 1 + len(rest) - len(rest.lstrip()))


def _add_affixes(keyframe: Keyframe, head: tuple[str, str], tail: tuple[str, str]) -> Keyframe:
    prompt = join_affixes(head[0], keyframe.prompt, tail[0])
    return replace(keyframe, prompt=prompt, negative=join_affixes(head[1], keyframe.negative, tail[1]))


def _quote(line: str, start: int) -> str:
    return f"'{line[start : start + 12]}'" if line[start:] else "the end of the line"
