"""A text that says which prompt each frame of a clip has, and how one prompt turns into the next.

Every line is `frames: prompt`; frames are a number, a range `12-20` or percentages of the clip. A line of three dots
between two prompts blends them even where others are held. Lines that begin with `#` or `//` are comments. The signs of
Chinese keyboards, full-width colon and percent sign among them, count as the ASCII ones.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ...motion_modules.errors import LoomError

HOLD = "hold"
EASINGS: dict[str, Callable[[float], float]] = {
    "linear": lambda t: t,
    "ease_in": lambda t: t * t,
    "ease_out": lambda t: t * (2 - t),
    "ease_in_out": lambda t: t * t * (3 - 2 * t),
    HOLD: lambda t: 0.0,
}
MAX_FRAMES = 4096
EXAMPLE = "'0: a red circle'"
COMMENTS = ("#", "//", "\uff03")
COLONS = ":\uff1a"
DASHES = "-~\u2013\u2014\uff0d\uff5e"

_position = re.compile(r"\s*((\d+(?:\.\d+)?)\s*([%\uff05]?))\s*")
_dots = re.compile(r"\s*(\.{3,}|\u2026+|\u3002{3,})\s*")


class PromptScheduleError(LoomError):
    """A mistake in a prompt schedule: one sentence with line, column and what was expected there."""


@dataclass(frozen=True)
class Key:
    """One prompt, held from frame `first` to frame `last`; `blends`: three dots stand behind it."""

    first: int
    last: int
    prompt: str
    blends: bool = False


@dataclass(frozen=True)
class Blend:
    """What a frame has: (1 - t) of the prompt numbered `before` and t of the one numbered `after`."""

    before: int
    after: int
    t: float


@dataclass(frozen=True)
class _Position:
    """A frame as a line names it, from `column` (counted from 1) to the sign at index `end`."""

    frame: int
    name: str
    column: int
    end: int


def parse_schedule(text: str, frames: int) -> list[Key]:
    """The prompts of `text` in order, all of them inside a clip of `frames`. Raises PromptScheduleError."""
    if not 1 <= frames <= MAX_FRAMES:
        raise PromptScheduleError(f"frames is {frames}, but a clip has 1 to {MAX_FRAMES}: set frames to its length.")
    keys: list[Key] = []
    open_dots: tuple[int, int] | None = None
    for number, line in _lines(text):
        dots = _dots.fullmatch(line)
        if dots and not keys:
            raise _mistake(number, dots.start(1) + 1, "a prompt before the dots", "dots")
        if dots:
            keys[-1], open_dots = replace(keys[-1], blends=True), (number, dots.start(1) + 1)
        else:
            keys.append(_key(line, number, frames, keys[-1] if keys else None))
            open_dots = None
    if open_dots:
        raise _mistake(*open_dots, "another prompt after the dots", "dots")
    if not keys:
        raise _mistake(1, 1, f"a line such as {EXAMPLE}", "nothing")
    return keys


def plan_blends(keys: Sequence[Key], frames: int, easing: str = "linear") -> list[Blend]:
    """For each of `frames` the two prompts that it lies between, and where."""
    return [_blend(keys, frame, easing) for frame in range(frames)]


def _blend(keys: Sequence[Key], frame: int, easing: str) -> Blend:
    after = next((number for number, key in enumerate(keys) if key.last >= frame), len(keys) - 1)
    if after == 0 or keys[after].first <= frame or keys[after].last < frame:
        return Blend(after, after, 0.0)
    before, behind = keys[after - 1], keys[after]
    ease = EASINGS["linear" if before.blends and easing == HOLD else easing]
    t = ease((frame - before.last) / (behind.first - before.last))
    return Blend(after - 1, after, t) if t and before.prompt != behind.prompt else Blend(after - 1, after - 1, 0.0)


def join_affixes(prefix: str, prompt: str, suffix: str) -> str:
    """One prompt of all three, with one comma between those that say something."""
    if not _without_commas(prefix) and not _without_commas(suffix):
        return prompt
    return ", ".join(filter(None, map(_without_commas, (prefix, prompt, suffix))))


def _without_commas(part: str) -> str:
    return part.strip(" \t\r\n,\u3000\uff0c")


def format_table(keys: Sequence[Key], frames: int, easing: str = "linear", prefix: str = "", suffix: str = "") -> str:
    """To check by eye: prefix and suffix, then for each frame its prompt, or its two prompts with their shares."""
    affixes = {"prefix": _without_commas(prefix), "suffix": _without_commas(suffix)}
    lines = [f"{name}: {' '.join(text.split())}" for name, text in affixes.items() if text]
    lines += [f"{frame}: {_shares(keys, blend)}" for frame, blend in enumerate(plan_blends(keys, frames, easing))]
    return "\n".join(lines)


def _shares(keys: Sequence[Key], blend: Blend) -> str:
    if blend.t == 0:
        return keys[blend.before].prompt
    return f"{_percent(1 - blend.t)} {keys[blend.before].prompt} | {_percent(blend.t)} {keys[blend.after].prompt}"


def _percent(share: float) -> str:
    return f"{round(100 * share, 2):g}%"


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, numbered as an editor numbers them."""
    for number, line in enumerate(re.split(r"\r\n?|\n", text), 1):
        if line.strip() and not line.lstrip().startswith(COMMENTS):
            yield number, line


def _key(line: str, number: int, frames: int, before: Key | None) -> Key:
    positions = list(_positions(line, number, frames))
    first, last = positions[0], positions[-1]
    prompt = line[last.end + 1 :].strip()
    if not prompt:
        raise _mistake(number, last.end + 2, "a prompt", "nothing")
    if before and first.frame <= before.last:
        expected = f"a frame after {before.last}, where the prompt before ends"
        raise _mistake(number, first.column, expected, first.name)
    if last.frame < first.frame:
        raise _mistake(number, last.column, f"a range that ends at {first.frame} or later", last.name)
    return Key(first.frame, last.frame, prompt)


def _positions(line: str, number: int, frames: int) -> Iterator[_Position]:
    """The frame or the two frames before the colon."""
    start = 0
    for separators, expected in ((DASHES + COLONS, "a dash or a colon"), (COLONS, "a colon")):
        match = _position.match(line, start)
        if match is None:
            start += len(line[start:]) - len(line[start:].lstrip())
            raise _mistake(number, start + 1, f"a frame number or a percentage, as in {EXAMPLE}", _found(line, start))
        yield _in_clip(match, number, frames)
        start = match.end() + 1
        separator = line[match.end() : start]
        if not separator or separator not in separators:
            raise _mistake(number, start, expected, _found(line, match.end()))
        if separator in COLONS:
            return


def _in_clip(match: re.Match, number: int, frames: int) -> _Position:
    text, value, percent = match[1].strip(), float(match[2]), bool(match[3])
    column = match.start(1) + 1
    if percent and value > 100:
        raise _mistake(number, column, "at most 100%", text)
    if not percent and not value.is_integer():
        raise _mistake(number, column, "a whole frame number", text)
    if not percent and value >= frames:
        raise _mistake(number, column, f"a frame below {frames}, the length of the clip", text)
    frame = math.floor(value / 100 * (frames - 1) + 0.5) if percent else int(value)
    return _Position(frame, f"{text} (frame {frame})" if percent else text, column, match.end())


def _found(line: str, start: int) -> str:
    return f"'{line[start : start + 12]}'" if line[start:] else "the end of the line"


def _mistake(line: int, column: int, expected: str, found: str) -> PromptScheduleError:
    place = f"line {line}, column {column}"
    return PromptScheduleError(f"The schedule in text has {found} in {place}: expected {expected}.")
