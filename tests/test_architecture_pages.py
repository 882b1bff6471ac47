"""Every architecture of the pack has a page in both languages, and what these say of its tensors is true."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
from animatediff_loom.motion_modules.architectures.registry import ARCHITECTURES
from animatediff_loom.motion_modules.contract import SiteShape
from host.checkout import ROOT

from tests.support.motion_models import KEYS
from tests.support.texts import code_lines, english_links, headings, local_links

FOLDER = ROOT / "docs" / "architectures"
SITE = SiteShape(channels=320, time_channels=1280, positions=32)
every = pytest.mark.parametrize("key", KEYS)
ENDINGS = (".md", ".zh.md")
languages = pytest.mark.parametrize("ending", ENDINGS)


def page(key: str, ending: str) -> str:
    return (FOLDER / f"{key}{ending}").read_text(encoding="utf-8")


def module_of(key: str) -> torch.nn.Module:
    """Without memory for its weights."""
    architecture = ARCHITECTURES[key]
    return architecture.module(architecture.config.for_site(SITE), device="meta")


def table(text: str) -> list[tuple[str, str]]:
    """Patterns of names of tensors, with the shape that is written after each."""
    return re.findall(r"^\| `(\S+)` \| `(\[.*\])` \|$", text, re.M)


def rows_of(tensors: dict[str, torch.Tensor]) -> str:
    return "\n".join(f"| `{name}` | `{list(tensor.shape)}` |" for name, tensor in tensors.items())


def test_no_page_without_an_architecture():
    assert {file.name for file in FOLDER.iterdir()} == {
        f"{key}{ending}" for key in KEYS for ending in (".md", ".zh.md")
    }


@every
@languages
def test_its_table_has_the_shape_of_every_tensor(key, ending):
    rows, tensors = table(page(key, ending)), module_of(key).state_dict()
    matching = {name: [shape for pattern, shape in rows if fnmatchcase(name, pattern)] for name in tensors}
    todo = f"Write into docs/architectures/{key}{ending}:\n{rows_of(tensors)}"
    assert matching == {name: [str(list(tensor.shape))] for name, tensor in tensors.items()}, todo
    assert [pattern for pattern, _ in rows if not any(fnmatchcase(name, pattern) for name in tensors)] == [], todo


@every
@languages
def test_it_counts_the_weights(key, ending):
    count = f"{sum(weight.numel() for weight in module_of(key).parameters()):,}"
    assert f"{count} " in page(key, ending), (
        f"Write into docs/architectures/{key}{ending}: {count} weights at {SITE.channels} channels"
    )


def test_a_wrong_page_says_what_to_write_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    key, ending = KEYS[0], ".md"
    rows, count = rows_of(module_of(key).state_dict()), sum(weight.numel() for weight in module_of(key).parameters())
    monkeypatch.setattr(f"{__name__}.FOLDER", tmp_path)
    (tmp_path / f"{key}{ending}").write_text("| `proj_in.weight` | `[1, 2]` |\n5 weights\n", encoding="utf-8")
    for check, todo in (
        (test_its_table_has_the_shape_of_every_tensor, rows),
        (test_it_counts_the_weights, f"{count:,}"),
    ):
        with pytest.raises(AssertionError) as failure:
            check(key, ending)
        place, written = str(failure.value).split("Write into ")[1].split(":", 1)
        assert place == f"docs/architectures/{key}{ending}"
        assert re.sub(r"\n +", "\n", written).strip().startswith(todo)


@every
@languages
def test_it_leads_to_the_code_and_to_the_guide(key, ending):
    source = ARCHITECTURES[key].module.__module__.partition(".")[2].replace(".", "/")
    assert {f"../../{source}.py", f"../write-a-module{ending}"} <= set(local_links(page(key, ending)))


@every
def test_both_languages_say_the_same(key):
    english, chinese = page(key, ".md"), page(key, ".zh.md")
    assert english.startswith(f"# `{key}`\n") and chinese.startswith(f"# `{key}`\n")
    assert headings(english) == headings(chinese)
    assert code_lines(english) == code_lines(chinese)
    assert table(english) == table(chinese)
    assert f"{key}.zh.md" in local_links(english) and f"{key}.md" in local_links(chinese)
    assert english_links(english) == english_links(chinese)
