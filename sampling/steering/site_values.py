"""Values for sites as users type them: `down.1: 0.5, mid: 0, up.*: 1.2`."""

import re

from ...motion_modules.errors import shorten
from ..prompts.keyframes import mistake
from ..prompts.line_notation import COLONS
from .curves import parse_value, split_entries


def read_site_values(text: str, input_name: str) -> tuple[tuple[str, float], ...]:
    """Return patterns of sites and their values, in order; none for an empty text. Raise PromptScheduleError."""
    values: list[tuple[str, float]] = []
    for entry, place in split_entries(text, input_name):
        pattern, *rest = (part.strip() for part in re.split(f"[{COLONS}]", entry))
        if not pattern or len(rest) != 1:
            raise mistake(place, f"'{shorten(entry, 40)}'", "a site, a colon and a value, such as `mid: 0.5`")
        values.append((pattern, parse_value(rest[0], place)))
    return tuple(values)
