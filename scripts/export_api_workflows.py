"""Write the API twin of every example workflow, as the host's own frontend exports it.

Run it with the checkout's environment after a workflow was changed. `--check` writes nothing and
fails when a twin is missing or out of date.
"""

import argparse
import json
from pathlib import Path

from host.checkout import ROOT
from host.frontend import api_prompt, load_workflow, temporary_frontend
from host.script import run_as_script
from playwright.sync_api import Page

WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))


def twin_of(workflow: Path) -> Path:
    return workflow.parent / "api" / workflow.name


def export(page: Page, workflow: Path) -> str:
    """The text of the API twin of a workflow file in UI format."""
    load_workflow(page, json.loads(workflow.read_text(encoding="utf-8")))
    return json.dumps(api_prompt(page), indent=2, ensure_ascii=False) + "\n"


def write_changed(page: Page, check: bool = False) -> list[Path]:
    """The twins that were missing or out of date; they are written unless `check`."""
    changed = []
    for workflow in WORKFLOWS:
        text, twin = export(page, workflow), twin_of(workflow)
        if twin.exists() and twin.read_text(encoding="utf-8") == text:
            continue
        changed.append(twin)
        if not check:
            twin.parent.mkdir(exist_ok=True)
            twin.write_text(text, encoding="utf-8", newline="\n")
    return changed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail when a twin is out of date, and write nothing")
    check = parser.parse_args().check
    with temporary_frontend() as (_, _, page):
        changed = write_changed(page, check)
    for twin in changed:
        print(f"{'Out of date' if check else 'Written'}: {twin.relative_to(ROOT)}")
    return 1 if check and changed else 0


if __name__ == "__main__":
    run_as_script(main)
