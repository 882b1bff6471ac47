"""The system's Chromium on the running host's own frontend."""

from collections.abc import Callable, Iterator

import pytest
from host.browser import ADVICE, find_browser
from host.checkout import ROOT
from host.frontend import DRAWN, FIT_VIEW, headless_browser, open_frontend
from host.server import Server
from playwright.sync_api import Browser, Page

ARTEFACTS = ROOT / "artefacts"


@pytest.fixture(scope="session")
def browser(pytestconfig: pytest.Config) -> Iterator[Browser]:
    """A headless browser; without one the tests are skipped, or fail under --require-browser."""
    executable = find_browser()
    if executable is None:
        (pytest.fail if pytestconfig.getoption("--require-browser") else pytest.skip)(ADVICE)
    with headless_browser(executable) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Browser, host_server: Server) -> Iterator[Page]:
    """A tab for the tests of one file, with an empty canvas of `host_server` at first."""
    with open_frontend(browser, host_server) as page:
        yield page


@pytest.fixture
def keep_picture(page: Page) -> Callable[[str], None]:
    """Keep a screenshot of the whole graph for a reviewer."""
    return lambda name: save_picture(page, name)


def save_picture(page: Page, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.evaluate(FIT_VIEW)
    page.wait_for_function(DRAWN)
    page.screenshot(path=ARTEFACTS / f"{name}.png")
