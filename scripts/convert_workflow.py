"""Convert a workflow with nodes of AnimateDiff-Evolved into one with nodes of this pack.

    python scripts/convert_workflow.py IN.json OUT.json

IN may be a workflow as saved (UI format) or as exported for the API. OUT has the same format. Nodes of
Advanced-ControlNet and FizzNodes are converted too; nodes of other packs stay as they are. One line is
printed for everything that could not be carried over, with what to do instead.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from conversion.api_format import convert_prompt
from conversion.notes import Note
from conversion.rules import Rules, load_rules
from conversion.ui_format import convert_workflow
from host.errors import SetupError
from host.script import run_as_script


def convert(workflow: Any, rules: Rules) -> tuple[dict[str, Any], list[Note]]:
    """Return a converted workflow of the same format, and what could not be carried over."""
    if isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list):
        return convert_workflow(workflow, rules)
    entries = list(workflow.values()) if isinstance(workflow, dict) else []
    if entries and all(isinstance(entry, dict) and "class_type" in entry for entry in entries):
        return convert_prompt(workflow, rules)
    raise SetupError("This is no workflow of ComfyUI. Save one with Workflow > Save, or export it for the API.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflow", metavar="IN", type=Path, help="workflow to read, which is not changed")
    parser.add_argument("result", metavar="OUT", type=Path, help="file to write")
    arguments = parser.parse_args()
    rules = load_rules()
    workflow, notes = convert(json.loads(arguments.workflow.read_text(encoding="utf-8")), rules)
    text = json.dumps(workflow, indent=2, ensure_ascii=False) + "\n"
    arguments.result.write_text(text, encoding="utf-8", newline="\n")
    print(f"Written: {arguments.result}")
    for note in notes:
        print(note.text(rules))
    return 0


if __name__ == "__main__":
    run_as_script(main)
