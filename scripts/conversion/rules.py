"""The table of rules, `web/conversion/rules.json`."""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[2] / "web" / "conversion" / "rules.json"
OTHER_PACKS = ("ADE_", "ACN_")  # prefixes of the node ids of AnimateDiff-Evolved and Advanced-ControlNet

Rules = dict[str, Any]
Widgets = list[list[Any]]


def load_rules() -> Rules:
    return json.loads(FILE.read_text(encoding="utf-8"))


def widgets_of(rules: Rules, kind: str) -> Widgets:
    """Return `[name, default]` of every widget of a node, in the order in which a workflow stores them."""
    schema = rules["sources"].get(kind) or rules["targets"].get(kind) or {"widgets": []}
    return schema["widgets"]


def is_of_other_pack(rules: Rules, kind: str) -> bool:
    return kind in rules["sources"] or kind in rules["stays"] or kind.startswith(OTHER_PACKS)
