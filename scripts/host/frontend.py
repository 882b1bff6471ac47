"""The frontend of a running host in a headless browser. Needs playwright."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from .server import Prompt, Server

FLAGS = (
    "--no-sandbox --disable-sync --disable-gpu --disable-quic "
    "--no-first-run --disable-background-networking --disable-component-update"
).split()
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False}
READY = "() => window.app?.extensionManager && window.app?.graph && window.LiteGraph?.registered_node_types?.KSampler"
FULL_HD = {"width": 1920, "height": 1080}
MINUTES = 120_000.0


@contextmanager
def headless_browser(executable: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_frontend(browser: Browser, server: Server) -> Iterator[Page]:
    """A fresh tab with an empty canvas, ready to be used, no templates dialog over it."""
    for name, value in SETTINGS.items():
        server.post(f"/settings/{name}", value)
    context = browser.new_context(viewport=FULL_HD, locale="en-US")
    try:
        page = context.new_page()
        page.goto(server.url)
        page.wait_for_function(READY, timeout=MINUTES)
        yield page
    finally:
        context.close()


def load_workflow(page: Page, workflow: dict[str, Any]) -> None:
    """Open a workflow in UI format, as dropping its file on the canvas does."""
    page.evaluate("workflow => app.loadGraphData(workflow)", workflow)


def api_prompt(page: Page) -> Prompt:
    """What pressing Run would queue."""
    return json.loads(page.evaluate("() => app.graphToPrompt().then(prompt => JSON.stringify(prompt.output))"))
