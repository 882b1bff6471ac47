"""The frontend of a running host in a headless browser. Needs playwright."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from .browser import ADVICE, find_browser
from .errors import SetupError
from .releases import host_tree
from .server import Prompt, Server

QUIET = "--disable-gpu --disable-quic --disable-sync --disable-background-networking --disable-component-update"
FLAGS = ["--no-sandbox", "--no-first-run", *QUIET.split()]
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.RightSidePanel.IsOpen": False,  # it opens for missing models, and is remembered
}
FIRST_WORKFLOW_IS_OPEN = """() => {
  const manager = window.app?.extensionManager;
  return manager?.workflow.activeWorkflow && !manager.spinner;
}"""
EMPTY_CANVAS = "() => app.extensionManager.command.execute('Comfy.NewBlankWorkflow')"
FIT_VIEW = """() => {
  app.canvas.deselectAll();
  return app.extensionManager.command.execute('Comfy.Canvas.FitView');
}"""
DRAWN = "() => !app.canvas.dirty_canvas && !app.canvas.dirty_bgcanvas"
FULL_HD = ViewportSize(width=1920, height=1080)
PATIENCE = 180_000.0  # milliseconds for every wait: a busy machine is slow, not wrong


@contextmanager
def headless_browser(executable: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS, timeout=PATIENCE)
        expect.set_options(timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_frontend(browser: Browser, server: Server) -> Iterator[Page]:
    """A fresh tab with an empty canvas, ready to be used, with no dialog or panel over it."""
    for name, value in SETTINGS.items():
        server.post(f"/settings/{name}", value)
    context = browser.new_context(viewport=FULL_HD, locale="en-US")
    try:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(server.url)
        page.wait_for_function(FIRST_WORKFLOW_IS_OPEN)
        page.evaluate(EMPTY_CANVAS)
        yield page
    finally:
        context.close()


@contextmanager
def temporary_frontend() -> Iterator[tuple[Server, Browser, Page]]:
    """A server of the newest host in a folder of its own, a browser, and a tab with its frontend."""
    executable = find_browser()
    if executable is None:
        raise SetupError(ADVICE)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        Server(Path(sys.executable), host_tree(), Path(folder)) as server,
        headless_browser(executable) as browser,
        open_frontend(browser, server) as page,
    ):
        yield server, browser, page


def load_workflow(page: Page, workflow: dict[str, Any]) -> None:
    """Open a workflow in UI format, as dropping its file on the canvas does."""
    page.evaluate("workflow => app.loadGraphData(workflow)", workflow)


def api_prompt(page: Page) -> Prompt:
    """Return what pressing Run would queue."""
    return _export_graph(page, "output")


def ui_workflow(page: Page) -> dict[str, Any]:
    """Return what saving would write."""
    return _export_graph(page, "workflow")


def _export_graph(page: Page, part: str) -> dict[str, Any]:
    text = page.evaluate("part => app.graphToPrompt().then(exported => JSON.stringify(exported[part]))", part)
    return json.loads(text)
