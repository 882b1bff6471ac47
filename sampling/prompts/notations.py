"""Recognises the notation of a schedule and reads its keyframes."""

import re
from collections.abc import Iterator

from .keyframes import WrittenSchedule
from .line_notation import read_lines
from .quoted_notation import is_quoted, read_quoted
from .quoted_text import COMMENTS

BYTE_ORDER_MARK = "\ufeff"  # first character of files that Windows editors save


def read_schedule(text: str) -> WrittenSchedule:
    """Return the keyframes of `text` in any notation. Raise PromptScheduleError."""
    text = re.sub(rf"(?m)^{BYTE_ORDER_MARK}+", "", text)
    lines = list(_find_content_lines(text))
    if any(is_quoted(line) for _, line in lines):
        return read_quoted(text)
    return read_lines(lines)


def _find_content_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are neither empty nor comments, with numbers as in an editor."""
    for number, line in enumerate(re.split(r"\r\n?|\n", text), 1):
        if line.strip() and not line.lstrip().startswith(COMMENTS):
            yield number, line
