"""The guide is true: its snippets run, both languages have the same ones, and its pictures say what the code says."""

import re

import pytest
from diagrams import full_size, shapes_picture, unet_picture, window_picture
from draw_diagrams import DATA, PICTURES, draw_all
from guide import GUIDE, run
from PIL import Image

from tests.support.texts import code_lines, english_links, headings, import_namespace, local_links

DOCS = GUIDE.parent
PAGES = {  # with some names that their snippets leave
    "how-it-works": {"video", "fused"},
    "motion-modules": {"by_hand", "without", "second_after", "gated", "whole"},
    "write-a-module": {"Drift", "LOOM_MOTION_MODULES", "moved"},
    "costs": {"counts"},
}
every_page = pytest.mark.parametrize("page", PAGES)


@every_page
def test_every_snippet_runs_and_prints_what_is_quoted(page, capsys):
    with import_namespace(page.replace("-", "_")) as names:
        run(DOCS / f"{page}.md", names)
        assert PAGES[page] <= names.keys()
    quoted = re.findall(r"^```text\n(.*?)^```$", read(page)[0], re.M | re.S)
    printed = capsys.readouterr().out.splitlines()
    assert [line for block in quoted for line in block.splitlines() if line not in printed] == []


def read(page: str) -> tuple[str, ...]:
    """Return the English page and the Chinese one."""
    return tuple((DOCS / f"{page}{ending}").read_text(encoding="utf-8") for ending in (".md", ".zh.md"))


def test_an_error_names_the_document_and_the_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\ngood = 1\nassert good == 2\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError) as error:
        run(page, {})
    last = error.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(page), 5)


@every_page
def test_both_languages_have_the_same_code_headings_and_links(page):
    english, chinese = read(page)
    assert code_lines(english) == code_lines(chinese)
    assert english.count("\n|") == chinese.count("\n|")
    assert headings(english) == headings(chinese)
    assert set(english_links(english)) == set(english_links(chinese))


@pytest.mark.parametrize("language", [0, 1], ids=["English", "Chinese"])
def test_every_picture_is_shown(language):
    shown = {link for page in PAGES for link in local_links(read(page)[language])}
    assert {f"{name}.png" for name in PICTURES} <= shown


def test_pictures_show_what_the_code_says_today(tmp_path):
    """The drawn text is also in the file, since another Pillow draws letters slightly differently."""
    for drawn in draw_all(tmp_path):
        with Image.open(drawn) as new, Image.open(GUIDE.with_name(drawn.name)) as shipped:
            assert new.info[DATA], drawn.name
            assert shipped.info[DATA] == new.info[DATA], f"run scripts/draw_diagrams.py: {drawn.name} is out of date"
            assert new.size == shipped.size


def test_the_picture_of_shapes_has_those_of_the_real_unet():
    rows = {row.name: row.shape for row in [*shapes_picture.list_pipeline(), *shapes_picture.list_module()]}
    assert rows["UNet: at its first motion module"] == (32, 320, 64, 64)
    assert rows["UNet: at its coarsest motion module"] == (32, 1280, 8, 8)
    assert rows["softmax: frames attend to frames"] == (4096, 8, 16, 16)
    assert rows["after the last step: decoded frames"] == (16, 512, 512, 3)
    assert all(
        len(row.shape) == len(row.axes) for row in [*shapes_picture.list_pipeline(), *shapes_picture.list_module()]
    )


def test_the_picture_of_the_unet_has_every_site_once():
    sites = [block.site for block in full_size.list_blocks() if block.site]
    assert sorted(sites) == sorted(set(full_size.trace_unet()) - {"in", "out"})
    assert {kind for block in full_size.list_blocks() for kind in block.layers} <= set(unet_picture.NAMES)


@pytest.mark.parametrize("schedule", ["static", "uniform"])
def test_the_picture_of_windows_has_weights_that_add_up(schedule):
    total = [0.0] * window_picture.FRAMES
    for window, weights in window_picture.plan_windows(schedule, step=1):
        for frame, weight in zip(window, weights, strict=True):
            total[frame] += weight
    assert total == pytest.approx([1.0] * window_picture.FRAMES)
