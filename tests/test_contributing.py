"""The pages for contributors are correct: snippets run and print what is quoted, and the worked example works."""

import re
import subprocess
from pathlib import Path

import pytest
import torch
from animatediff_loom.motion_modules.contract import MotionInputs
from animatediff_loom.training.gradient_report import gradient_report
from guide import run
from host.checkout import ROOT
from new_module import LISTS, MADE, PUBLISHED, fill_template

from tests.support.texts import english_links, headings, import_namespace

RECIPES = [ROOT / "docs" / "debugging.md", ROOT / "docs" / "extending.md"]
WORKED = ROOT / "docs" / "worked-contribution.md"
PAGES = [ROOT / "CONTRIBUTING.md", *RECIPES, WORKED]
EXAMPLE = "temporal_shift"
EXAMPLES = "animatediff_loom.motion_modules.architectures"
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def in_both_languages(page: Path) -> list[str]:
    return [file.read_text(encoding="utf-8") for file in (page, page.with_suffix(".zh.md"))]


def fenced(text: str) -> list[tuple[str, str]]:
    """Return every block of code, with its language."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)


def blocks(page: Path, language: str) -> list[str]:
    return [code for name, code in fenced(page.read_text(encoding="utf-8")) if name == language]


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)
def test_recipes_run_and_print_what_is_quoted(page, capsys):
    with import_namespace(page.stem) as namespace:
        run(page, namespace)
    printed, quoted = capsys.readouterr().out.splitlines(), "".join(blocks(page, "text")).splitlines()
    assert [line for line in quoted if line not in printed] == []


def test_the_recipes_quote_output():
    assert len(blocks(RECIPES[0], "text")) == 4


@pages
def test_both_languages_have_the_same_headings_tables_and_links(page):
    english, chinese = in_both_languages(page)
    assert headings(english) == headings(chinese)
    assert english.count("\n|") == chinese.count("\n|")
    assert set(english_links(english)) == set(english_links(chinese))


@pages
def test_both_languages_have_the_same_code(page):
    """Compare all code except the list of folders, which is prose."""
    english, chinese = (
        [block for block in fenced(text) if "nodes/  " not in block[1]] for text in in_both_languages(page)
    )
    assert english
    assert english == chinese


@pytest.fixture(scope="module")
def contribution(tmp_path_factory):
    """Return the names in the module and test of scripts/new_module.py, with the changes of the worked example."""
    folder = tmp_path_factory.mktemp("contribution")
    files = {template: folder / MADE[template].format(EXAMPLE) for template in ("module.py.txt", "test.py.txt")}
    for template, file in files.items():
        file.parent.mkdir(parents=True)
        file.write_text(fill_template(template, EXAMPLE), encoding="utf-8", newline="\n")
    changes = "".join(blocks(WORKED, "diff"))
    subprocess.run(["git", "apply", "-"], cwd=folder, input=changes.encode(), check=True)
    with import_namespace(f"{EXAMPLES}.{EXAMPLE}") as module:
        module["__package__"], tests = EXAMPLES, {}
        for names, file in ((module, files["module.py.txt"]), (tests, files["test.py.txt"])):
            exec(compile(file.read_text(encoding="utf-8"), file, "exec"), names)  # noqa: S102 - our own files
        yield module, tests


def test_its_own_tests_pass(contribution):
    tests = [test for name, test in contribution[1].items() if name.startswith("test_")]
    assert len(tests) == 4
    for test in tests:
        test()


def test_the_reviewer_is_right(contribution):
    """The page names the parameters that no gradient reaches, and the number of weights without them."""
    names, _ = contribution
    module = names["TemporalShift"](names["TemporalShiftConfig"](320, 320))
    clip = torch.randn(4, 320, 2, 2, generator=torch.Generator().manual_seed(0))
    module(clip, MotionInputs(4)).square().mean().backward()
    (quoted,) = [block for block in blocks(WORKED, "console") if block.startswith("gradients")]
    assert gradient_report(module).text().startswith(quoted)
    weights = sum(weight.numel() for name, weight in module.named_parameters() if "from_clip" not in name)
    assert f"'{weights:,} '" in WORKED.read_text(encoding="utf-8")


def test_the_script_makes_what_is_printed():
    (printed,) = [block for block in blocks(WORKED, "console") if block.startswith("Created:")]
    paths = [*(pattern.format(EXAMPLE) for pattern in MADE.values()), *LISTS.values(), PUBLISHED]
    assert [line.strip() for line in printed.splitlines() if line.startswith(" ")] == paths
