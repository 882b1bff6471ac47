"""What is in a page of Markdown, and the namespace in which its snippets run."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from animatediff_loom.motion_modules.architectures.registry import ARCHITECTURES


def code_lines(text: str) -> list[str]:
    return [line for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S) for line in block.splitlines()]


def headings(text: str) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return re.findall(r"^(#+) ", prose, re.M)


def local_links(text: str) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:", link)]


def english_links(text: str) -> list[str]:
    """Links in their order to other pages, those in Chinese by the names of their English twins."""
    links = [re.sub(r"\bzh\.md$", "en.md", link) for link in local_links(text)]
    return [link.replace(".en.md", ".md") for link in links]


@contextmanager
def imported(name: str) -> Iterator[dict]:
    """The namespace of a module which is imported, as a pack is; it is forgotten at the end, with what it registers."""
    module, before = ModuleType(name), dict(ARCHITECTURES)
    sys.modules[name] = module
    try:
        yield vars(module)
    finally:
        del sys.modules[name]
        ARCHITECTURES.clear()
        ARCHITECTURES.update(before)
