"""Lines of half a notation, such as `0: "a cat",`, and the lines that were meant."""

import re
from dataclasses import dataclass

OPENING, CLOSING = '"\u201c\u201d\u201e\u201f\uff02', '"\u201c\u201d\u201f\uff02'
QUOTES = OPENING + "'\u2018\u2019"
SIGNS = ":=\uff1a"
COMMAS = ",\uff0c"
LONGEST_LINE = 2000

_key = r"-?[\d.]+"
_entry_pattern = (
    rf"(?s)\s*\{{?\s*(?P<open>[{QUOTES}]?)\s*(?P<key>{_key}(?::-?[\d.]*(?=\s*[{QUOTES}]))?)\s*[{QUOTES}]?\s*[{SIGNS}]"
    r"\s*(?P<value>.*?)\s*$"
)
_next_entry_pattern = (
    rf"[{COMMAS}\s]\s*(?=[{QUOTES}]\s*{_key}\s*[{QUOTES}]\s*[{SIGNS}]|{_key}\s*[{SIGNS}]\s*[{QUOTES}])"
)
_apostrophe = r"(?<=\w)['\u2019](?=\w)"
_quoted_pattern = (
    rf"(?s)\s*(?:[{OPENING}](?P<double>(?:[^{OPENING}\\]|\\.)*)[{CLOSING}]"
    rf"|['\u2018](?P<single>(?:[^'\u2018\u2019\\]|\\.|{_apostrophe})*)['\u2019])\s*[{COMMAS}]?\s*"
)
_flag_pattern = r"(?i)(--\s*neg(?!\w))"


@dataclass(frozen=True)
class Fault:
    """A fault of a line, as an error names it, and the line that was meant."""

    actual: str
    line: str


def repair_prompt(prompt: str, frames: str) -> Fault | None:
    """Return the fault of a prompt without quotes around its frames, or None when its quotes belong to the text."""
    if prompt[0] in QUOTES and re.search(_next_entry_pattern, prompt[:LONGEST_LINE]):
        return Fault("several prompts", repair_line(f"{frames}: {prompt}") or "one prompt per line")
    plain = _remove_quotes(prompt)
    if plain != prompt:
        comma = " and a comma" if prompt.rstrip()[-1] in COMMAS else ""
        return Fault(f"quotes{comma} around the prompt", f"{frames}: {plain}")
    stripped = prompt.rstrip(COMMAS + " ")
    is_open = prompt[0] in OPENING or (stripped[-1:] in tuple(CLOSING) and not re.search(r"\d.$", stripped))
    if is_open and sum(character in OPENING for character in prompt) == 1:
        return Fault("a quote without its pair", f"{frames}: {stripped.strip(OPENING).strip()}")
    return None


def _remove_quotes(prompt: str) -> str:
    """Return `prompt` without quotes around all of it, or around the texts before and after `--neg`."""
    for parts in ([prompt], re.split(_flag_pattern, prompt, maxsplit=1)):
        quoted = [re.fullmatch(_quoted_pattern, part) for part in parts]
        if any(quoted):
            pairs = zip(parts, quoted, strict=True)
            return " ".join(
                _unescape(match["double"] or match["single"] or "" if match else part).strip() for part, match in pairs
            )
    return prompt


def repair_line(line: str) -> str | None:
    """Return a line of keyframes with quotes and commas where they belong, or None when it is none."""
    pieces = re.split(_next_entry_pattern, line[:LONGEST_LINE].strip())
    entries = [_repair_entry(piece) for piece in pieces if piece.strip(" {}")]
    if not entries or None in entries:
        return None
    opening, closing = ("{" if line.lstrip()[0] == "{" else ""), ("}" if line.rstrip()[-1] == "}" else "")
    text = opening + ", ".join(filter(None, entries))
    return text + closing if closing else f"{text},"


def _repair_entry(piece: str) -> str | None:
    entry = re.fullmatch(_entry_pattern, piece)
    if entry is None or not re.search(r"\d", entry["key"]):
        return None
    value = entry["value"].rstrip().removesuffix("}").rstrip().rstrip(COMMAS).rstrip()
    value = _strip_quotes(value)
    return f'"{entry["key"]}": "{_escape(_unescape(value))}"'


def _strip_quotes(value: str) -> str:
    value = value[1:] if value[:1] and value[0] in QUOTES else value
    return value[:-1] if value[-1:] and value[-1] in QUOTES and not value.endswith("\\" + value[-1]) else value


def _unescape(value: str) -> str:
    return value.replace('\\"', '"')


def _escape(value: str) -> str:
    return value.replace('"', '\\"')
