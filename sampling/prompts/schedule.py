"""Prompt schedules: a text that gives each frame of a clip its prompt, and blends one into the next."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from .keyframes import (
    FRAME,
    LARGEST_FRAME,
    Place,
    Position,
    PromptScheduleError,
    WrittenSchedule,
    join_affixes,
    locate,
    mistake,
    split_negative,
    strip_commas,
)
from .notations import read_schedule

HOLD = "hold"
EASINGS: dict[str, Callable[[float], float]] = {
    "linear": lambda t: t,
    "ease_in": lambda t: t * t,
    "ease_out": lambda t: t * (2 - t),
    "ease_in_out": lambda t: t * t * (3 - 2 * t),
    HOLD: lambda t: 0.0,
}
MAX_FRAMES = 100_000
MAX_NAMES = 8  # keyframes or LoRAs that a remark lists
LORA_TAG = r"<(?:lora|lyco):[^<>\n]{1,80}>"  # of AUTOMATIC1111's web UI


@dataclass(frozen=True)
class KeyPrompt:
    """A prompt, held from frame `first` to frame `last`, with or without dots on the next line."""

    first: int
    last: int
    prompt: str
    followed_by_dots: bool = False
    negative: str = ""


@dataclass(frozen=True)
class Blend:
    """The mixture of one frame: (1 - t) of prompt number `before` and t of prompt number `after`."""

    before: int
    after: int
    t: float


def parse_schedule(text: str, frames: int, start_frame: int = 0) -> list[KeyPrompt]:
    """Return the prompts of `text` in order, with frames of the schedule.

    The clip has `frames` of them from `start_frame` on; percentages refer to it. Raise
    PromptScheduleError.
    """
    if not 1 <= frames <= MAX_FRAMES:
        remedy = (
            "Make longer videos in parts, with `start_frame`"
            if frames > 0
            else "Set `frames` to the length of the clip"
        )
        raise PromptScheduleError(f"`frames` is {frames}, but a clip has 1 to {MAX_FRAMES}. {remedy}.")
    if not 0 <= start_frame <= LARGEST_FRAME:
        raise PromptScheduleError(f"`start_frame` is {start_frame}. Set it to a number from 0 to {LARGEST_FRAME}.")
    return _place_keyframes(read_schedule(text), frames, start_frame)


def check_schedule(text: str) -> None:
    """Raise PromptScheduleError for a mistake that does not depend on the length of the clip."""
    schedule = read_schedule(text)
    units = {position.unit for keyframe in schedule.keyframes for position in (keyframe.first, keyframe.last)}
    if len(units) == 1:
        _place_keyframes(schedule, MAX_FRAMES, 0)


def _place_keyframes(schedule: WrittenSchedule, frames: int, start_frame: int) -> list[KeyPrompt]:
    keys: list[KeyPrompt] = []
    placed = [(locate(keyframe.first, frames, start_frame), keyframe) for keyframe in schedule.keyframes]
    placed = placed if schedule.is_sorted else sorted(placed, key=lambda pair: pair[0])
    for first, keyframe in placed:
        if keys and first <= keys[-1].last:
            expected = f"a frame after {keys[-1].last}, where the previous prompt ends"
            raise mistake(keyframe.first.place, _name(keyframe.first, first), expected)
        last = locate(keyframe.last, frames, start_frame)
        if last < first:
            expected = f"a range that ends at {first - keyframe.last.shift} or later"
            raise mistake(keyframe.last.place, _name(keyframe.last, last), expected)
        keys.append(KeyPrompt(first, last, keyframe.prompt, keyframe.followed_by_dots, keyframe.negative))
    return _hold_keys(keys, [keyframe.is_held for _, keyframe in placed])


def _hold_keys(keys: Sequence[KeyPrompt], held: Sequence[bool]) -> list[KeyPrompt]:
    """Extend the `held` keys up to the next one."""
    pairs = zip(keys, [*keys[1:], None], held, strict=True)
    return [replace(key, last=next_key.first - 1) if is_held and next_key else key for key, next_key, is_held in pairs]


def _name(position: Position, frame: int) -> str:
    return position.text if position.unit == FRAME else f"{position.text} (frame {frame})"


def plan_blends(keys: Sequence[KeyPrompt], frames: int, easing: str = "linear", start_frame: int = 0) -> list[Blend]:
    """Return the mixture of two prompts for each of `frames` from `start_frame` on."""
    return [_plan_frame(keys, frame, easing) for frame in range(start_frame, start_frame + frames)]


def _plan_frame(keys: Sequence[KeyPrompt], frame: int, easing: str) -> Blend:
    number = min(bisect_left(keys, frame, key=lambda key: key.last), len(keys) - 1)
    after = keys[number]
    if number == 0 or after.first <= frame or after.last < frame:
        return Blend(number, number, 0.0)
    before = keys[number - 1]
    ease = EASINGS["linear" if before.followed_by_dots and easing == HOLD else easing]
    t = ease((frame - before.last) / (after.first - before.last))
    if t == 0 or (before.prompt, before.negative) == (after.prompt, after.negative):
        return Blend(number - 1, number - 1, 0.0)
    return Blend(number - 1, number, t)


def join_prompts(keys: Sequence[KeyPrompt], prefix: str = "", suffix: str = "") -> tuple[list[str], list[str]]:
    """Return the prompts and the negative prompts of `keys` with prefix and suffix, which may have `--neg` too."""
    before, after = (split_negative(text, Place(1, 1, name)) for name, text in (("prefix", prefix), ("suffix", suffix)))
    prompts = [join_affixes(before[0], key.prompt, after[0]) for key in keys]
    return prompts, [join_affixes(before[1], key.negative, after[1]) for key in keys]


def format_table(
    keys: Sequence[KeyPrompt],
    frames: int,
    easing: str = "linear",
    prefix: str = "",
    suffix: str = "",
    start_frame: int = 0,
) -> str:
    """Return prefix and suffix, remarks, then one line per frame with its prompt, or its two prompts and their shares.

    Frames have the numbers of the schedule.
    """
    affixes = {"prefix": strip_commas(prefix), "suffix": strip_commas(suffix)}
    lines = [f"{name}: {' '.join(text.split())}" for name, text in affixes.items() if text]
    lines += _find_remarks(keys, frames, start_frame, has_negatives=any(join_prompts(keys, prefix, suffix)[1]))
    blends = plan_blends(keys, frames, easing, start_frame)
    lines += [f"{frame}: {_format_shares(keys, blend)}" for frame, blend in enumerate(blends, start_frame)]
    return "\n".join(lines)


def _find_remarks(keys: Sequence[KeyPrompt], frames: int, start_frame: int, has_negatives: bool) -> Iterator[str]:
    """Yield remarks on keyframes outside the clip, negative prompts, and LoRAs in prompts."""
    last = start_frame + frames - 1
    outside = [_format_range(key) for key in keys if key.first < start_frame or key.last > last]
    if outside:
        names = ", ".join(outside[:MAX_NAMES]) + (
            f" and {len(outside) - MAX_NAMES} more" if outside[MAX_NAMES:] else ""
        )
        yield f"remark: the clip has frames {start_frame} to {last} of the schedule; outside it: {names}"
    if has_negatives:
        yield "remark: connect the output negative to the sampler; the prompts after --neg have no effect otherwise"
    tags = {tag for key in keys for tag in re.findall(LORA_TAG, key.prompt)}
    if tags:
        yield f"remark: {', '.join(sorted(tags)[:MAX_NAMES])} is read as text; load LoRAs with Load LoRA"


def _format_range(key: KeyPrompt) -> str:
    return str(key.first) if key.first == key.last else f"{key.first}-{key.last}"


def _format_shares(keys: Sequence[KeyPrompt], blend: Blend) -> str:
    before, after = _format_prompt(keys[blend.before]), _format_prompt(keys[blend.after])
    if blend.t == 0:
        return before
    return f"{_format_percent(1 - blend.t)} {before} | {_format_percent(blend.t)} {after}"


def _format_prompt(key: KeyPrompt) -> str:
    prompt = f"{key.prompt} --neg {key.negative}".strip() if key.negative else key.prompt
    return " ".join(prompt.splitlines()) if "\n" in prompt or "\r" in prompt else prompt


def _format_percent(share: float) -> str:
    return f"{round(100 * share, 2):g}%"
