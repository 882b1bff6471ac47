"""Sites by short patterns, as a person types them: `down.1, up.*, mid`."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from ..errors import MotionModelError

ALL = "*"
SEPARATORS = "[,;\uff0c\uff1b\u3001\n]"  # those of a Chinese keyboard too: full-width , and ; and the list comma


def sites_like(patterns: str, names: Iterable[str], whose: str) -> list[str]:
    """Those of `names`, sites in motion model files, that fit one of `patterns`, which have commas between them.

    `down.2.1` is down_blocks.2.motion_modules.1, `down.2` all of that level, `down` all on the way down; `*` stands
    for anything. Names as files and reports have them fit as well. Raises MotionModelError for a pattern that fits
    none of the sites of `whose`.
    """
    short = {name: _plain(name) for name in names}
    wanted = patterns_in(patterns)
    for pattern in wanted or [""]:
        if not any(_fits(name, pattern) for name in short.values()):
            raise MotionModelError(
                f"`sites` has '{pattern}', which fits no site of {whose}: "
                f"choose from {', '.join(name.replace('mid.0', 'mid') for name in short.values())}."
            )
    return [name for name, plain in short.items() if any(_fits(plain, pattern) for pattern in wanted)]


def patterns_in(text: str) -> list[str]:
    """Those between commas, Chinese ones too, semicolons and ends of lines."""
    return [pattern.strip() for pattern in re.split(SEPARATORS, text) if pattern.strip()]


def _plain(name: str) -> str:
    for part in ("_blocks", "_block", ".motion_modules"):
        name = name.replace(part, "")
    return ".".join(name.lower().split())


def _fits(plain: str, pattern: str) -> bool:
    pattern = _plain(pattern)
    return fnmatchcase(plain, pattern) or fnmatchcase(plain, f"{pattern}.*")
