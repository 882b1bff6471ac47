"""Runs the snippets of a page, by default docs/how-it-works.md, one after another, for the Python that test.py sets up.

`python -i scripts/guide.py` then stays in their namespace, to try things out.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from host.checkout import HOSTS, ROOT

GUIDE = ROOT / "docs" / "how-it-works.md"


def snippets(text: str) -> Iterator[tuple[int, str]]:
    """Every block of Python in a Markdown text, with the number of lines above its first."""
    for match in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S):
        yield text.count("\n", 0, match.start(1)), match[1]


def run(document: Path, namespace: dict) -> None:
    """All snippets in one namespace; an error names the document and the line."""
    for lines_above, snippet in snippets(document.read_text(encoding="utf-8")):
        code = compile("\n" * lines_above + snippet, str(document), "exec")
        exec(code, namespace)  # noqa: S102 - this repository's own document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, nargs="?", default=GUIDE, help="such as docs/debugging.md")
    parser.add_argument("--host", type=Path, default=HOSTS / "0.30.0", help="folder of a ComfyUI")
    options = parser.parse_args()
    sys.path.append(str(ROOT / "demo"))
    from loom_mini.host_tree import use_host

    use_host(options.host)
    run(options.page.resolve(), vars(sys.modules["__main__"]))


if __name__ == "__main__":
    main()
