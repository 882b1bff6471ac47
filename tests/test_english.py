"""English texts follow the style of the project: verbs first, plain words, and a remedy in every error."""

import ast
import json
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from animatediff_loom.nodes import NODES
from host.checkout import ROOT

from tests.support.texts import ends_with_remedy

FOLDERS = ("nodes", "training", "inspection", "sampling", "motion_modules", "scripts", "demo", "tests")
PACK = FOLDERS[:5]
SOURCES = [ROOT / "__init__.py", *(file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py")))]
ERRORS = {"LoomError", "MotionModelError", "FileFault", "PromptScheduleError"}
VAGUE_NAMES = {"own", "found", "given", "made", "apart", "alike", "together", "most", "behind"}
OPENING = re.compile(r"(What|How|Whether|One|Those|Of)\b")
PHRASES = {
    r"\b(?:a|the) person\b": "the user",
    r"\bpersons\b": "users",
    r"\bpeople\b": "users",
    r"\bso many\b": "up to N, or a number",
    r"\bbehind\b": "after",
    r"\bin front of\b": "before",
    r"\banew\b": "again",
    r"\bapart\b": "separate",
    r"\balike\b": "the same, or similar",
    r"\bof one's own\b": "custom",
    r"\bof (?:ours|yours)\b": "our, your",
    r"\bagain and again\b": "repeatedly",
    r"\bthe very\b": "the",
    r"\bwhich is no\b": "which is not",
    r"\bwith commas between\b": "separated by commas",
    r"\bwithout a word\b": "silently",
}
ALLOWED = re.compile(r"\bt(?:ells?|old) [^.:;]{0,40}\bapart\b|\bfar apart\b|\bapart from\b", re.IGNORECASE)

Texts = Iterator[tuple[str, str]]


@cache
def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def place(file: Path, line: int) -> str:
    return f"{file.relative_to(ROOT).as_posix()}:{line}"


def docstrings() -> Texts:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for file in SOURCES:
        for node in ast.walk(parse(file)):
            if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                yield place(file, getattr(node, "lineno", 1)), text


def comments() -> Texts:
    for file in SOURCES:
        with file.open("rb") as source:
            yield from (
                (place(file, token.start[0]), token.string)
                for token in tokenize.tokenize(source.readline)
                if token.type == tokenize.COMMENT
            )


def error_calls() -> Iterator[tuple[Path, ast.Call]]:
    """Yield the calls that build an error of the pack, raised in place or returned by a helper."""
    for file in SOURCES:
        for node in ast.walk(parse(file)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
                yield file, node


def message(node: ast.AST) -> str:
    """Return the literal text of an error, with `…` for what is filled in."""
    if isinstance(node, ast.FormattedValue):
        return "…"
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(map(message, ast.iter_child_nodes(node)))


def errors() -> Texts:
    yield from ((place(file, node.lineno), " ".join(map(message, node.args))) for file, node in error_calls())


def node_texts() -> Texts:
    for schema in (node.GET_SCHEMA() for node in NODES):
        yield schema.node_id, schema.description
        yield from ((f"{schema.node_id}.{each.id}", each.tooltip) for each in all_inputs(schema.inputs))


def all_inputs(inputs) -> Iterator:
    for each in inputs:
        yield each
        for option in getattr(each, "options", []):
            yield from all_inputs(getattr(option, "inputs", []))


def pages() -> Texts:
    folders = (ROOT / name for name in ("docs", "web", "demo", ".github"))
    files = [*ROOT.glob("*.md"), *(file for folder in folders for file in folder.rglob("*.md"))]
    for file in (file for file in sorted(files) if not file.name.endswith("zh.md")):
        lines = file.read_text(encoding="utf-8").splitlines()
        yield from ((place(file, number), line) for number, line in enumerate(lines, 1))


def templates() -> Texts:
    for file in sorted((ROOT / "scripts" / "templates").rglob("*.txt")):
        if not file.name.endswith("zh.md.txt"):
            yield place(file, 1), file.read_text(encoding="utf-8")


def notes() -> Texts:
    for file in sorted((ROOT / "workflows").glob("*.json")):
        nodes = json.loads(file.read_text(encoding="utf-8"))["nodes"]
        yield from ((file.name, node["widgets_values"][0]) for node in nodes if "Note" in node["type"])


@pytest.mark.parametrize("texts", [docstrings, comments, errors, node_texts, pages, templates, notes])
def test_words_are_plain(texts):
    faults = [
        f"{where}: write '{better}' in: {text[max(0, match.start() - 40) : match.end() + 40]!r}"
        for where, text in texts()
        for phrase, better in PHRASES.items()
        for match in re.finditer(phrase, ALLOWED.sub("", " ".join(text.split())), re.IGNORECASE)
        if not where.startswith("tests/test_english.py")
    ]
    assert not faults, "\n".join(faults)


def test_docstrings_do_not_begin_with_a_question_word():
    faults = [f"{where}: {text.splitlines()[0]}" for where, text in docstrings() if OPENING.match(text)]
    assert not faults, "\n".join(faults)


def test_node_descriptions_begin_with_a_verb():
    first_words = {schema.node_id: schema.description.split()[0] for schema in (node.GET_SCHEMA() for node in NODES)}
    assert {node: word for node, word in first_words.items() if not re.fullmatch(r"[A-Z][a-z]+s", word)} == {}


def test_every_error_of_the_pack_says_what_to_do():
    """An error that ends with text from elsewhere is checked by the test that provokes it."""
    faults = [
        f"{place(file, node.lineno)}: {text}"
        for file, node in error_calls()
        if file.relative_to(ROOT).parts[0] in PACK and (text := " ".join(map(message, node.args)))
        if re.search("[a-z]", text) and not re.search(r"….?$", text) and not ends_with_remedy(text)
    ]
    assert not faults, "\n".join(faults)


def stored_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno


def test_names_say_what_they_hold():
    faults = [
        f"{place(file, line)}: {name}"
        for file in SOURCES
        for name, line in stored_names(parse(file))
        if name in VAGUE_NAMES
    ]
    assert not faults, "\n".join(faults)
