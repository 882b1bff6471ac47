"""Unusual values and modes of AnimateDiff-Evolved's nodes are kept, or a note tells that they were not."""

from typing import Any

from conversion.rules import load_rules
from conversion.ui_format import convert_workflow

from tests.support.unusual_graphs import bypassed_motion

RULES = load_rules()


def modes(workflow: dict[str, Any], kind: str) -> list[int]:
    return sorted(node["mode"] for node in workflow["nodes"] if node["type"] == kind)


def test_all_new_nodes_have_the_mode_of_the_node_that_they_replace():
    workflow, notes = convert_workflow(bypassed_motion(), RULES)
    for kind in ("LoomLoadMotionModel", "LoomApplyMotionModel", "LoomContextWindows"):
        assert modes(workflow, kind) == [0, 2, 4], kind
    assert notes == []
