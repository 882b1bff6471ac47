"""Values of JSON that are no prompts, such as `"0": {"prompt": "a"}` and `"0": 5`, and the line that was meant."""

import json
import re
from typing import Any

from ...motion_modules.errors import shorten
from .repairs import LONGEST_LINE, OPENING, SIGNS, Fault

EXAMPLE = "a red circle"
JSON_EXAMPLE = f"""`{{"0": "{EXAMPLE}", "8": "a blue square"}}`"""
PROMPT_NAMES = ("prompt", "text", "positive")
WORDS = {True: "true", False: "false", None: "null"}

_value_pattern = rf"(?<=[{SIGNS}])\s*(?=[\[{{\d-]|true|false|null)"
_end_pattern = r"[^\S\n]*(?:[,}\n]|$)"


def find_json_value(text: str, index: int) -> Fault | None:
    """Return the fault of the value at `index` of `text`, or None unless it is an object, a list, a number or a word.

    Its line has a prompt in place of each such value.
    """
    if text[index : index + 1] in OPENING:
        return None
    start = text.rfind("\n", 0, index) + 1
    part = text[start : index + LONGEST_LINE]
    decoded = _decode(part, index - start)
    if decoded is None:
        is_open = re.match(r"[{[]\s*(?:[\"{[]|$)", text[index : index + LONGEST_LINE])
        name = _name({} if text[index] == "{" else [])
        return Fault(f"{name} instead of a prompt", JSON_EXAMPLE) if is_open else None
    line, is_example = _replace_values(part, index - start)
    expected = "a prompt in double quotes, such as " if is_example else ""
    return Fault(f"{_name(decoded[0])} instead of a prompt", f"{expected}`{shorten(line)}`")


def _decode(text: str, index: int) -> tuple[Any, int] | None:
    """Return the value at `index` and the index after it, or None where no such value is complete."""
    try:
        value, end = json.JSONDecoder().raw_decode(text, index)
    except (ValueError, RecursionError):
        return None
    return (value, end) if not isinstance(value, str) and re.match(_end_pattern, text[end:]) else None


def _replace_values(text: str, index: int) -> tuple[str, bool]:
    """Return the line of `text` with prompts for values from `index` on, and whether one of them is an example."""
    line, is_example, start = "", False, 0
    while (decoded := _decode(text, index)) is not None:
        value, end = decoded
        prompt = _find_prompt(value)
        is_example |= prompt is None
        line += text[start:index] + json.dumps(prompt or EXAMPLE, ensure_ascii=False)
        start = end
        following = re.search(_value_pattern, text[end : _line_end(text, end)])
        if following is None:
            break
        index = end + following.end()
    return (line + text[start : _line_end(text, start)]).strip(), is_example


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return end if end >= 0 else len(text)


def _find_prompt(value: Any) -> str | None:
    """Return the only text in a value, or the one by the name of a prompt."""
    entries = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
    texts = {key: each for key, each in entries.items() if isinstance(each, str)}
    named = [texts[name] for name in PROMPT_NAMES if name in texts]
    return (named or [*texts.values(), None])[0] if named or len(texts) == 1 else None


def _name(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return WORDS[value] if value is None or isinstance(value, bool) else f"the number {shorten(str(value), 20)}"
