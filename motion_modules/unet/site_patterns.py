"""Sites of motion modules by short patterns, as users type them: `down.1, up.*, mid`."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from ..errors import MotionModelError, shorten

ALL = "*"
SEPARATORS = "[,;\uff0c\uff1b\u3001\n]"  # those of a Chinese keyboard too: full-width , and ; and the list comma


def short_name(site: str) -> str:
    """Return the short form of a site's name in motion model files, which is also a pattern that selects it.

    `up.2.1` for up_blocks.2.motion_modules.1, and `mid` for mid_block.motion_modules.0.
    """
    name = _normalise(site)
    return "mid" if name == "mid.0" else name


def sites_like(patterns: str, names: Iterable[str], whose: str, input_name: str = "sites") -> list[str]:
    """Return those of `names`, sites in motion model files, that match one of the comma-separated `patterns`.

    `down.2.1` is down_blocks.2.motion_modules.1, `down.2` is all of that level, `down` all on the
    way down; `*` matches anything. Full names and parts of them, such as `up_blocks.1`, are
    patterns too. Raises MotionModelError, which names `input_name` and the sites of `whose`, for a
    pattern that matches none of them.
    """
    normalised = {name: _normalise(name) for name in names}
    wanted = split_patterns(patterns)
    for pattern in wanted or [""]:
        if not any(_matches(name, pattern) for name in normalised.values()):
            raise MotionModelError(
                f"`{input_name}` has '{shorten(pattern, 40)}', which matches no site of {whose}. "
                f"Choose from {', '.join(map(short_name, normalised))}."
            )
    return [name for name, site in normalised.items() if any(_matches(site, pattern) for pattern in wanted)]


def split_patterns(text: str) -> list[str]:
    """Split at commas, Chinese ones too, semicolons and ends of lines; leave out what is empty."""
    return [pattern.strip() for pattern in re.split(SEPARATORS, text) if pattern.strip()]


def _normalise(name: str) -> str:
    for part in ("_blocks", "_block", ".motion_modules"):
        name = name.replace(part, "")
    return ".".join(name.lower().split())


def _matches(name: str, pattern: str) -> bool:
    pattern = _normalise(pattern)
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
