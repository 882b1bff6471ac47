"""Check that this checkout can be published in the registry, and print what its archive holds. Needs git.

Refuses what the owner has not decided yet, a version without a heading in CHANGELOG.md, and
changes that are not committed. Nothing is published.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from host.script import run_as_script
from release.archive import build_archive, list_changes
from release.decisions import find_faults


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(describe_archive())
    faults = [*find_faults(), *find_changes()]
    for fault in faults:
        print(fault, file=sys.stderr)
    print("Not ready to publish." if faults else "Ready to publish.")
    return 1 if faults else 0


def find_changes() -> list[str]:
    names = list_changes()
    return [f"Not committed: {', '.join(names)}. Commit or remove them."] if names else []


def describe_archive() -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "node.zip"
        names = build_archive(file)
        return f"The archive holds {len(names)} files, {file.stat().st_size / 1e6:.1f} MB."


if __name__ == "__main__":
    run_as_script(main, OSError)
