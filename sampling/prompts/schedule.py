"""Prompt schedules: a text that gives each frame of a clip its prompt, and blends one into the next.

Every line is `frames: prompt`, where frames are a number, a range `12-20`, or percentages of the
clip. A line of three dots between two prompts blends them even with the easing `hold`. Lines that
start with `#` or `//` are comments. Full-width signs of Chinese keyboards, such as colon and percent
sign, count as the ASCII ones.
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

_position_pattern = r"\s*((\d+(?:\.\d+)?)\s*([%\uff05]?))\s*"
_dots_pattern = r"\s*(\.{3,}|\u2026+|\u3002{3,})\s*"


class PromptScheduleError(LoomError):
    """A mistake in a prompt schedule: its line and column, and what to write there."""


@dataclass(frozen=True)
class KeyPrompt:
    """A prompt, held from frame `first` to frame `last`, with or without dots on the next line."""

    first: int
    last: int
    prompt: str
    followed_by_dots: bool = False


@dataclass(frozen=True)
class Blend:
    """The mixture of one frame: (1 - t) of prompt number `before` and t of prompt number `after`."""

    before: int
    after: int
    t: float


@dataclass(frozen=True)
class _Position:
    """A frame in a line, which starts at `column` (counted from 1) and ends before the index `end`."""

    frame: int
    name: str
    column: int
    end: int


def parse_schedule(text: str, frames: int) -> list[KeyPrompt]:
    """Return the prompts of `text` in order, all inside a clip of `frames`.

    Raise PromptScheduleError.
    """
    if not 1 <= frames <= MAX_FRAMES:
        raise PromptScheduleError(
            f"`frames` is {frames}, but a clip has 1 to {MAX_FRAMES}. Set `frames` to the length of the clip."
        )
    keys: list[KeyPrompt] = []
    open_dots: tuple[int, int] | None = None
    for number, line in _find_content_lines(text):
        dots = re.fullmatch(_dots_pattern, line)
        if dots and not keys:
            raise _mistake(number, dots.start(1) + 1, "dots", "a prompt before the dots")
        if dots:
            keys[-1], open_dots = replace(keys[-1], followed_by_dots=True), (number, dots.start(1) + 1)
        else:
            keys.append(_parse_line(line, number, frames, keys[-1] if keys else None))
            open_dots = None
    if open_dots:
        raise _mistake(*open_dots, "dots", "another prompt after the dots")
    if not keys:
        raise _mistake(1, 1, "nothing", f"a line such as {EXAMPLE}")
    return keys


def plan_blends(keys: Sequence[KeyPrompt], frames: int, easing: str = "linear") -> list[Blend]:
    """Return the mixture of two prompts for each of `frames`."""
    return [_plan_frame(keys, frame, easing) for frame in range(frames)]


def _plan_frame(keys: Sequence[KeyPrompt], frame: int, easing: str) -> Blend:
    number = next((number for number, key in enumerate(keys) if key.last >= frame), len(keys) - 1)
    after = keys[number]
    if number == 0 or after.first <= frame or after.last < frame:
        return Blend(number, number, 0.0)
    before = keys[number - 1]
    ease = EASINGS["linear" if before.followed_by_dots and easing == HOLD else easing]
    t = ease((frame - before.last) / (after.first - before.last))
    if t == 0 or before.prompt == after.prompt:
        return Blend(number - 1, number - 1, 0.0)
    return Blend(number - 1, number, t)


def join_affixes(prefix: str, prompt: str, suffix: str) -> str:
    """Return the prompt with prefix and suffix, separated by one comma; those without content are left out."""
    if not _strip_commas(prefix) and not _strip_commas(suffix):
        return prompt
    return ", ".join(filter(None, map(_strip_commas, (prefix, prompt, suffix))))


def _strip_commas(part: str) -> str:
    return part.strip(" \t\r\n,\u3000\uff0c")


def format_table(
    keys: Sequence[KeyPrompt], frames: int, easing: str = "linear", prefix: str = "", suffix: str = ""
) -> str:
    """Return prefix and suffix, then one line per frame with its prompt, or its two prompts and their shares."""
    affixes = {"prefix": _strip_commas(prefix), "suffix": _strip_commas(suffix)}
    lines = [f"{name}: {' '.join(text.split())}" for name, text in affixes.items() if text]
    lines += [
        f"{frame}: {_format_shares(keys, blend)}" for frame, blend in enumerate(plan_blends(keys, frames, easing))
    ]
    return "\n".join(lines)


def _format_shares(keys: Sequence[KeyPrompt], blend: Blend) -> str:
    if blend.t == 0:
        return keys[blend.before].prompt
    before, after = keys[blend.before].prompt, keys[blend.after].prompt
    return f"{_format_percent(1 - blend.t)} {before} | {_format_percent(blend.t)} {after}"


def _format_percent(share: float) -> str:
    return f"{round(100 * share, 2):g}%"


def _find_content_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are neither empty nor comments, with numbers as in an editor."""
    for number, line in enumerate(re.split(r"\r\n?|\n", text), 1):
        if line.strip() and not line.lstrip().startswith(COMMENTS):
            yield number, line


def _parse_line(line: str, number: int, frames: int, previous: KeyPrompt | None) -> KeyPrompt:
    positions = list(_parse_positions(line, number, frames))
    first, last = positions[0], positions[-1]
    prompt = line[last.end + 1 :].strip()
    if not prompt:
        raise _mistake(number, last.end + 2, "nothing", "a prompt")
    if previous and first.frame <= previous.last:
        expected = f"a frame after {previous.last}, where the previous prompt ends"
        raise _mistake(number, first.column, first.name, expected)
    if last.frame < first.frame:
        raise _mistake(number, last.column, last.name, f"a range that ends at {first.frame} or later")
    return KeyPrompt(first.frame, last.frame, prompt)


def _parse_positions(line: str, number: int, frames: int) -> Iterator[_Position]:
    """Yield the frame, or the first and last frame, before the colon."""
    start = 0
    for separators, expected in ((DASHES + COLONS, "a dash or a colon"), (COLONS, "a colon")):
        match = re.match(_position_pattern, line[start:])
        if match is None:
            start += len(line[start:]) - len(line[start:].lstrip())
            expected = f"a frame number or a percentage, as in {EXAMPLE}"
            raise _mistake(number, start + 1, _quote(line, start), expected)
        position = _locate(match, start, number, frames)
        yield position
        start = position.end + 1
        separator = line[position.end : start]
        if not separator or separator not in separators:
            raise _mistake(number, start, _quote(line, position.end), expected)
        if separator in COLONS:
            return


def _locate(match: re.Match, start: int, number: int, frames: int) -> _Position:
    text, value, percent = match[1].strip(), float(match[2]), bool(match[3])
    column = start + match.start(1) + 1
    if percent and value > 100:
        raise _mistake(number, column, text, "a percentage of up to 100%")
    if not percent and not value.is_integer():
        raise _mistake(number, column, text, "a whole frame number")
    if not percent and value >= frames:
        raise _mistake(number, column, text, f"a frame below {frames}, or raise `frames`")
    frame = math.floor(value / 100 * (frames - 1) + 0.5) if percent else int(value)
    return _Position(frame, f"{text} (frame {frame})" if percent else text, column, start + match.end())


def _quote(line: str, start: int) -> str:
    return f"'{line[start : start + 12]}'" if line[start:] else "the end of the line"


def _mistake(line: int, column: int, actual: str, expected: str) -> PromptScheduleError:
    place = f"line {line}, column {column}"
    return PromptScheduleError(f"The schedule in `text` has {actual} in {place}. Write {expected}.")
