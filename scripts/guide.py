"""Run the snippets of a page, by default docs/how-it-works.md, in their order. Needs the Python that test.py sets up.

`python -i scripts/guide.py` then stays in their namespace.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from host.checkout import HOSTS, ROOT
from host.in_process import use_host

GUIDE = ROOT / "docs" / "how-it-works.md"


def snippets(text: str) -> Iterator[tuple[int, str]]:
    """Yield every Python block of a Markdown text, after the number of lines above it."""
    for match in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S):
        yield text.count("\n", 0, match.start(1)), match[1]


def run(document: Path, namespace: dict) -> None:
    """Run all snippets of a document in one namespace. Errors name the document and the line."""
    for lines_above, snippet in snippets(document.read_text(encoding="utf-8")):
        code = compile("\n" * lines_above + snippet, str(document), "exec")
        exec(code, namespace)  # noqa: S102 - this repository's own document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, nargs="?", default=GUIDE, help="such as docs/write-a-module.md")
    parser.add_argument("--host", type=Path, default=HOSTS / "0.30.0", help="folder of a ComfyUI")
    options = parser.parse_args()
    use_host(options.host)
    run(options.page.resolve(), vars(sys.modules["__main__"]))


if __name__ == "__main__":
    main()
