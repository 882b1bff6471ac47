"""Actions of a user in the frontend, with the mouse and the keyboard."""

from contextlib import suppress

from host.frontend import PATIENCE
from playwright.sync_api import Locator, Page, TimeoutError

SEARCH_BOX = "[role=dialog] input[role=combobox]"
TRIES = 20


def open_search(page: Page, x: float, y: float) -> Locator:
    """Double-click until the search opens: the frontend ignores two clicks that a busy machine delivers too slowly."""
    search = page.locator(SEARCH_BOX)
    for _ in range(TRIES):
        page.mouse.dblclick(x, y)
        with suppress(TimeoutError):
            search.wait_for(timeout=PATIENCE / TRIES)
            break
    return search
