"""The user's browser on a running ComfyUI."""

import os
import sys
import time
import webbrowser

from .server import Server

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")


def serve_in_browser(server: Server, query: str) -> None:
    """Open a running host in the user's browser with a `query` for the frontend, and serve until Ctrl-C.

    The address is printed too. Without a screen, it is only printed. Raises ServerError when the
    host ends.
    """
    address = f"{server.url}/?{query}"
    if _has_screen() and webbrowser.open(address):
        print(f"Opened in the browser: {address}")
    else:
        print(f"Open this address in a browser: {address}")
    print("Press Ctrl-C to end ComfyUI.", flush=True)
    try:
        while True:
            server.check_alive()
            time.sleep(0.5)
    except KeyboardInterrupt:
        print("Ending ComfyUI.", flush=True)


def _has_screen() -> bool:
    """Return whether a browser would have a window; without one, Python may open a browser in the terminal."""
    return os.name == "nt" or sys.platform == "darwin" or any(os.environ.get(name) for name in SCREENS)
