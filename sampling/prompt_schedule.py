"""A text that says which prompt each frame of a clip has, and how one prompt turns into the next.

Every line is `frames: prompt`; frames are a number, a range `12-20` or percentages of the clip. A line of three dots
between two prompts blends them even where others are held. Lines that begin with `#` are comments.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..motion_modules.errors import MotionModelError

HOLD = "hold"
EASINGS: dict[str, Callable[[float], float]] = {
    "linear": lambda t: t,
    "ease_in": lambda t: t * t,
    "ease_out": lambda t: t * (2 - t),
    "ease_in_out": lambda t: t * t * (3 - 2 * t),
    HOLD: lambda t: 0.0,
}
DOTS = ("...", "…")

_position = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*")


class PromptScheduleError(MotionModelError):
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


def parse_schedule(text: str, frames: int) -> list[Key]:
    """The prompts of `text` in order, all of them inside a clip of `frames`. Raises PromptScheduleError."""
    keys: list[Key] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line.strip() in DOTS:
            keys = _with_dots(keys, number)
            continue
        key = _key(line, number, frames)
        if keys and key.first <= keys[-1].last:
            raise _mistake(number, 1, f"a frame behind {keys[-1].last}, where the prompt before ends", str(key.first))
        keys.append(key)
    if not keys:
        raise _mistake(1, 1, "a line such as '0: a red circle'", "nothing")
    return keys


def blends(keys: Sequence[Key], frames: int, easing: str = "linear") -> list[Blend]:
    """For each of `frames` the two prompts that it lies between, and where."""
    return [_blend(keys, frame, easing) for frame in range(frames)]


def _blend(keys: Sequence[Key], frame: int, easing: str) -> Blend:
    after = next((number for number, key in enumerate(keys) if key.last >= frame), len(keys) - 1)
    if after == 0 or keys[after].first <= frame or keys[after].last < frame:
        return Blend(after, after, 0.0)
    before, behind = keys[after - 1], keys[after]
    ease = EASINGS["linear" if before.blends and easing == HOLD else easing]
    t = ease((frame - before.last) / (behind.first - before.last))
    return Blend(after - 1, after, t) if t else Blend(after - 1, after - 1, 0.0)


def table(keys: Sequence[Key], frames: int, easing: str = "linear") -> str:
    """One line per frame, for a person to check: its number, and its prompt or its two prompts with their shares."""
    return "\n".join(f"{frame}: {_shares(keys, blend)}" for frame, blend in enumerate(blends(keys, frames, easing)))


def _shares(keys: Sequence[Key], blend: Blend) -> str:
    if blend.t == 0:
        return keys[blend.before].prompt
    return f"{1 - blend.t:.0%} {keys[blend.before].prompt} | {blend.t:.0%} {keys[blend.after].prompt}"


def _with_dots(keys: list[Key], number: int) -> list[Key]:
    if not keys:
        raise _mistake(number, 1, "a prompt before the dots", "dots")
    last = keys[-1]
    return [*keys[:-1], Key(last.first, last.last, last.prompt, blends=True)]


def _key(line: str, number: int, frames: int) -> Key:
    positions = list(_positions(line, number, frames))
    end = positions[-1][1]
    prompt = line[end + 1 :].strip()
    if not prompt:
        raise _mistake(number, end + 2, "a prompt", "nothing")
    first, last = positions[0][0], positions[-1][0]
    if last < first:
        raise _mistake(number, 1, f"a range that ends behind {first}", str(last))
    return Key(first, last, prompt)


def _positions(line: str, number: int, frames: int) -> Iterator[tuple[int, int]]:
    """The frame or the two frames before the colon, each with the column where its text ends."""
    start = 0
    for separators, expected in (("-:", "a dash or a colon"), (":", "a colon")):
        match = _position.match(line, start)
        if match is None:
            raise _mistake(number, start + 1, "a frame number or a percentage", _found(line, start))
        yield _frame(match, number, frames), match.end()
        separator = line[match.end() : match.end() + 1]
        if separator not in separators or not separator:
            raise _mistake(number, match.end() + 1, expected, _found(line, match.end()))
        if separator == ":":
            return
        start = match.end() + 1


def _frame(match: re.Match, number: int, frames: int) -> int:
    value, percent = float(match[1]), bool(match[2])
    if not percent and not value.is_integer():
        raise _mistake(number, match.start(1) + 1, "a whole frame number", match[1])
    frame = round(value / 100 * (frames - 1)) if percent else int(value)
    if frame >= frames or (percent and value > 100):
        limit = "at most 100%" if percent else f"a frame below {frames}, the length of the clip"
        raise _mistake(number, match.start(1) + 1, limit, match[1] + match[2])
    return frame


def _found(line: str, column: int) -> str:
    return f"'{line[column : column + 12]}'" if line[column:] else "the end of the line"


def _mistake(line: int, column: int, expected: str, found: str) -> PromptScheduleError:
    return PromptScheduleError(f"The prompt schedule has {found} in line {line}, column {column}: expected {expected}.")
