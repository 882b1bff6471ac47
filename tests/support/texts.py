"""Pages of Markdown, the namespace in which their snippets run, and the form of the pack's errors."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
from animatediff_loom.motion_modules.architectures.registry import ARCHITECTURES
from animatediff_loom.motion_modules.errors import LoomError
from host.server import Progress, Prompt, PromptError, Server


def code_lines(text: str) -> list[str]:
    return [line for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S) for line in block.splitlines()]


def headings(text: str) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return re.findall(r"^(#+) ", prose, re.M)


def local_links(text: str) -> list[str]:
    """Links to files of this pack, in their order."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:|#", link)]


def web_links(text: str) -> list[str]:
    return re.findall(r"\]\((https?:[^)\s]+)\)", text)


def links_within(text: str) -> list[str]:
    """The headings of the same page that links lead to, as GitHub writes them."""
    return re.findall(r"\]\(#([^)\s]+)\)", text)


def heading_links(text: str) -> list[str]:
    """The names under which GitHub finds the headings of a page."""
    lines = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return [re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines]


def english_links(text: str) -> list[str]:
    """Links in their order to other pages, those in Chinese by the names of their English twins."""
    links = [re.sub(r"\bzh\.md$", "en.md", link) for link in local_links(text)]
    return [link.replace(".en.md", ".md") for link in links]


@contextmanager
def import_namespace(name: str) -> Iterator[dict]:
    """The namespace of a module which is imported, as a pack is; it is forgotten at the end, with what it registers."""
    module, before = ModuleType(name), dict(ARCHITECTURES)
    sys.modules[name] = module
    try:
        yield vars(module)
    finally:
        del sys.modules[name]
        ARCHITECTURES.clear()
        ARCHITECTURES.update(before)


@contextmanager
def expect_error(*parts: str):
    """The block must raise a LoomError that holds all of `parts`."""
    with pytest.raises(LoomError) as caught:
        yield
    check_sentence(str(caught.value), *parts)


REMEDIES = (
    "add apply ask call change check choose clone combine connect convert copy correct delete disconnect download "
    "encode enter export fetch free get give go increase install keep leave let list load look lower make merge "
    "move name pass point provide put raise reduce register remove rename replace report require restart return run "
    "sample save scale set shorten start swap switch take try turn unpack update use wire work write "
)
REMEDY = re.compile(rf"(?:then )?(?:{'|'.join(REMEDIES.split())})\b", re.IGNORECASE)
SUBJECT = re.compile(r"""'[^']+'|`[^`]+`|"[^"]+"|\bNAME\b|\bstep \d+|\w/\w""")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\[])")


def check_sentence(error: str, *parts: str) -> None:
    """Check that `error` has all `parts`, names its input or its subject, and ends with a remedy.

    The subject is in quotes or backticks, a path, a step or the NAME of a command line; or one of the `parts` is
    a node or a file, with a capital.
    """
    assert "\n" not in error and error.endswith("."), error
    assert len(SENTENCE_END.split(error)) <= 2, f"more than what is wrong and what to do: {error}"
    assert SUBJECT.search(error) or any(part[:1].isupper() for part in parts), f"names nothing: {error}"
    assert ends_with_remedy(error), f"says not what to do: {error}"
    missing = [part for part in parts if part not in error]
    assert not missing, f"{missing} not in: {error}"


def ends_with_remedy(error: str) -> bool:
    """Return whether a verb of `REMEDIES` begins the last sentence, or its clause after the last mark or "or"."""
    last = SENTENCE_END.split(error)[-1]
    clauses = (last, re.split(r"[:;] ", last)[-1], last.split(" or ")[-1])
    return any(REMEDY.match(clause) for clause in clauses)


def must_fail(server: Server, prompt: Prompt, node: str, *parts: str) -> None:
    """The prompt fails in a node of class `node` before any step of sampling; its error has all `parts`."""
    progress: list[Progress] = []
    with pytest.raises(PromptError) as caught:
        server.run(prompt, progress.append)
    failed_in, _, sentence = str(caught.value).partition(": ")
    assert failed_in == node, caught.value
    check_sentence(sentence, *parts)
    assert not [seen for seen in progress if seen.class_type == "KSampler" and seen.value]
