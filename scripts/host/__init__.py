"""A pinned ComfyUI for the demo and the tests: its files, its Python environment and its running server."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit(f"This is Python {sys.version.split()[0]}; ComfyUI needs Python 3.10 or newer: run this with a newer one.")
