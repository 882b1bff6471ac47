"""Help pages in the help panel of the real frontend: their pictures load, fit its width, and have their texts."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from host.checkout import ROOT
from host.frontend import open_frontend
from host.server import Server
from PIL import Image
from playwright.sync_api import Browser, Page, expect

HELP = ROOT / "web" / "docs"
PICTURE = re.compile(r"!\[([^]]*)\]\(([^)\s]+)\)")
NODES = sorted({page.parent.name for page in HELP.glob("*/*.md") if PICTURE.search(page.read_text(encoding="utf-8"))})
NARROWEST, LARGEST = 280, 150_000  # pixels of the panel, bytes of a picture
INFO, HELP_PANEL = "info-button", ".node-help-content"
ADD_NODE = """name => {
  const node = LiteGraph.createNode(name);
  node.pos = [400, 400];
  app.canvas.deselectAll();
  app.graph.add(node);
  app.canvas.selectNode(node);
}"""
SHOWN = """panel => [...panel.querySelectorAll('img')].map(image => [image.alt, image.getAttribute('src')])"""
LOADED = """() => [...document.querySelectorAll('.node-help-content img')].every(
  image => image.complete && image.naturalWidth > 0
)"""
WIDTHS = """panel => [...panel.querySelectorAll('img')].map(
  image => [image.getBoundingClientRect().width, panel.getBoundingClientRect().width]
)"""


@pytest.fixture(params=["en", "zh"])
def locale(request: pytest.FixtureRequest, host_server: Server) -> Iterator[str]:
    """A language that tabs of `host_server` open in."""
    host_server.post("/settings/Comfy.Locale", request.param)
    yield request.param
    host_server.post("/settings/Comfy.Locale", "en")


@pytest.fixture
def page(browser: Browser, host_server: Server, locale: str) -> Iterator[Page]:
    """A tab of its own: the frontend remembers for each tab whether the panel shows help."""
    with open_frontend(browser, host_server) as page:
        yield page


@pytest.mark.timeout(600)
def test_every_picture_of_a_help_page_loads_and_fits_the_panel(page: Page, locale: str):
    for node in NODES:
        text = (HELP / node / f"{locale}.md").read_text(encoding="utf-8")
        open_help(page, node, text.splitlines()[0].removeprefix("# "))
        page.wait_for_function(LOADED)
        panel = page.locator(HELP_PANEL)
        shown = [(alt, Path(source).name) for alt, source in panel.evaluate(SHOWN)]
        assert shown == [(alt, Path(source).name) for alt, source in PICTURE.findall(text)]
        assert [pair for pair in panel.evaluate(WIDTHS) if not NARROWEST <= pair[0] <= pair[1]] == []


def open_help(page: Page, node: str, heading: str) -> None:
    """Add a node, press its info button if the panel is closed, and wait for its page, which follows the selection."""
    page.evaluate(ADD_NODE, node)
    if node == NODES[0]:
        page.get_by_test_id(INFO).click()
    expect(page.locator(HELP_PANEL).get_by_role("heading", level=1)).to_have_text(heading)


def test_every_picture_of_a_help_page_is_small_and_made_for_the_panel():
    pictures = [file for file in HELP.rglob("*") if file.suffix in (".png", ".webp")]
    assert pictures
    assert {file.name: file.stat().st_size for file in pictures if file.stat().st_size > LARGEST} == {}
    assert {file.name: width for file in pictures if (width := Image.open(file).width) != 2 * NARROWEST} == {}
