"""The system's Chromium, driven by playwright, on the running host's own frontend."""

from collections.abc import Iterator

import pytest
from host.browser import ADVICE, find_browser
from host.server import Server
from playwright.sync_api import Browser, Page, sync_playwright

QUIET = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"


@pytest.fixture(scope="session")
def browser(pytestconfig: pytest.Config) -> Iterator[Browser]:
    """A headless browser; without one the tests are skipped, or fail under --require-browser."""
    executable = find_browser()
    if executable is None:
        (pytest.fail if pytestconfig.getoption("--require-browser") else pytest.skip)(ADVICE)
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-sync", *QUIET.split()]
        browser = playwright.chromium.launch(executable_path=executable, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, host_server: Server) -> Iterator[Page]:
    """A fresh tab with the frontend of `host_server` in it, ready to be used, no templates dialog over its canvas."""
    host_server.post("/settings", {"Comfy.TutorialCompleted": True})
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    page = context.new_page()
    page.goto(host_server.url)
    page.wait_for_function("() => window.app?.graph && window.app?.extensionManager", timeout=120_000)
    yield page
    context.close()
