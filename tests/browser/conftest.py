"""The system's Chromium on the running host's own frontend."""

from collections.abc import Callable, Iterator

import pytest
from host.browser import ADVICE, find_browser
from host.checkout import ROOT
from host.frontend import headless_browser, open_frontend
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


@pytest.fixture
def page(browser: Browser, host_server: Server) -> Iterator[Page]:
    """A fresh tab with an empty canvas of `host_server`."""
    with open_frontend(browser, host_server) as page:
        yield page


@pytest.fixture
def keep_picture(page: Page) -> Callable[[str], None]:
    """Keeps a screenshot for a person to look at."""
    ARTEFACTS.mkdir(exist_ok=True)
    return lambda name: page.screenshot(path=ARTEFACTS / f"{name}.png") and None
