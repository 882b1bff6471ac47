"""Reads quoted strings and the signs between them, and names what is missing."""

import re
from bisect import bisect_right
from dataclasses import dataclass

from ...motion_modules.errors import shorten
from .keyframes import Place, PromptScheduleError, mistake
from .repairs import OPENING, repair_line

COMMENTS = ("#", "//", "\uff03")
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
TYPOGRAPHIC = "\u201c\u201d\u201e\u201f"  # each of them may close what another one opened
LONGEST_MATCH = 200  # characters
EXAMPLE = """`"0": "a red circle",`"""

_escape_pattern = r"(?s)\\(u[0-9a-fA-F]{4}|[^u])"


@dataclass(frozen=True)
class Quoted:
    """A text without its quotes, and the place of its first character."""

    text: str
    place: Place


class QuotedText:
    """A text that is read from its start to its end, `index` characters so far."""

    def __init__(self, text: str):
        self.text = re.sub(r"\r\n?", "\n", text)
        self.starts = [0, *(index + 1 for index, character in enumerate(self.text) if character == "\n")]
        self.index = 0
        self.last_string = 0

    def peek(self) -> str:
        """Return the next character after blanks and comments, or an empty string at the end."""
        while self.index < len(self.text):
            if self.text.startswith(COMMENTS, self.index):
                self.index = self._line_end(self.index)
            elif self.text[self.index].isspace():
                self.index += 1
            else:
                break
        return self.text[self.index : self.index + 1]

    def skip(self, characters: str) -> bool:
        """Pass one of `characters`, if it comes next."""
        sign = self.peek()
        is_next = bool(sign) and sign in characters
        self.index += is_next
        return is_next

    def read_match(self, pattern: str) -> Quoted | None:
        """Return what comes next, if it matches `pattern`."""
        self.peek()
        match = re.match(pattern, self.text[self.index : self.index + LONGEST_MATCH])
        if match is None:
            return None
        quoted = Quoted(match[0], self.place(self.index))
        self.index += match.end()
        return quoted

    def read_string(self, otherwise: str, fallback: str = "") -> Quoted:
        """Return the string in quotes that comes next. Raise PromptScheduleError."""
        quote = self.peek()
        if not quote or quote not in OPENING:
            raise self.refuse(otherwise, fallback=fallback)
        start = self.last_string = self.index + 1
        closing = TYPOGRAPHIC if quote in TYPOGRAPHIC else quote
        end = start
        while end < len(self.text) and self.text[end] not in closing:
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text):
            raise self._refuse_open_quote()
        self.index = end + 1
        return Quoted(_unescape(self.text[start:end]), self.place(start))

    def place(self, index: int) -> Place:
        line = bisect_right(self.starts, index)
        return Place(line, index - self.starts[line - 1] + 1)

    def refuse_missing_comma(self) -> PromptScheduleError:
        """Return the error for text after a prompt, where the closing quote may be the opening one of the next line."""
        before = self.text[: self.index].rstrip()
        if "\n" in before[self.last_string :]:
            return self._refuse_open_quote()
        self.index = len(before)
        return self.refuse("no comma after a prompt")

    def refuse(self, actual: str, expected: str = "", fallback: str = "") -> PromptScheduleError:
        """Return the error for the next character; without `expected`, with the line that is meant, or `fallback`."""
        repaired = repair_line(self._line(self.index))
        line = f"`{shorten(repaired)}`" if repaired else fallback or f"a line such as {EXAMPLE}"
        return mistake(self.place(self.index), actual, expected or line)

    def _refuse_open_quote(self) -> PromptScheduleError:
        self.index = self.last_string - 1
        return self.refuse("a quote without its pair")

    def _line(self, index: int) -> str:
        return self.text[self.text.rfind("\n", 0, index) + 1 : self._line_end(index)]

    def _line_end(self, index: int) -> int:
        end = self.text.find("\n", index)
        return end if end >= 0 else len(self.text)


def _unescape(text: str) -> str:
    r"""Return `text` with JSON's escapes replaced. Others, such as `\(`, are for the text encoder."""
    plain = re.sub(_escape_pattern, _replace_escape, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _replace_escape(escape: re.Match) -> str:
    code = escape[1]
    if len(code) == 1:
        return ESCAPES.get(code) or escape[0]
    code_point = int(code[1:], 16)
    return chr(code_point)
