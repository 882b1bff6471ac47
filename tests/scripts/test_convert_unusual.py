"""Unusual values and modes of AnimateDiff-Evolved's nodes are kept, or a note tells that they were not."""

from typing import Any

import pytest
from conversion.notes import short
from conversion.rules import load_rules
from conversion.ui_format import convert_workflow

from tests.support.evolved_graphs import as_prompt
from tests.support.unusual_graphs import UNUSUAL, bypassed_motion

RULES = load_rules()


def modes(workflow: dict[str, Any], kind: str) -> list[int]:
    return sorted(node["mode"] for node in workflow["nodes"] if node["type"] == kind)


def test_all_new_nodes_have_the_mode_of_the_node_that_they_replace():
    workflow, notes = convert_workflow(bypassed_motion(), RULES)
    for kind in ("LoomLoadMotionModel", "LoomApplyMotionModel", "LoomContextWindows"):
        assert modes(workflow, kind) == [0, 2, 4], kind
    assert notes == []


def convert(name: str, kind: str) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Return the inputs of all nodes of a kind in a converted workflow, and inputs and messages of the notes."""
    workflow, notes = convert_workflow(UNUSUAL[name](), RULES)
    nodes = as_prompt(workflow, RULES).values()
    inputs = [node["inputs"] for node in nodes if node["class_type"] == kind]
    return inputs, [(note.input, note.reason or note.message) for note in notes]


def test_a_part_of_a_prompt_schedule_starts_at_its_frame_and_a_note_tells_where_it_ended():
    (schedule,), notes = convert("part_of_schedule", "LoomPromptSchedule")
    assert schedule["start_frame"] == 8
    assert notes == [("start_frame", "schedule_start"), ("end_frame", "schedule_end")]


def test_a_whole_prompt_schedule_with_weights_of_0_needs_no_note():
    assert convert("whole_schedule", "LoomPromptSchedule")[1] == []


def test_options_without_a_counterpart_are_noted():
    _, notes = convert("options_without_counterpart", "SaveVideo")
    assert set(notes) >= {
        ("adapt_denoise_steps", "adapt_denoise"),
        ("use_on_equal_length", "equal_length"),
        ("save_image", "save_image"),
    }


def test_a_keyframe_with_a_linked_start_is_left_out_with_a_note_and_numbers_have_no_exponent():
    (strength,), notes = convert("linked_keyframe", "LoomMotionStrength")
    assert strength["progress_curve"] == "0: 1 hold, 0.0000005: 0.00001 hold"
    assert notes == [("start_percent", "keyframe_value")]


@pytest.mark.parametrize(
    ("name", "converted"), [("odd_value", "LoomApplyMotionModel"), ("endless_chain", "EmptyLatentImage")]
)
def test_an_odd_node_stops_the_conversion_of_its_part_alone(name: str, converted: str):
    nodes, notes = convert(name, converted)
    assert len(nodes) == 1 and notes == [("", "unreadable")]


def test_numbers_are_written_as_in_the_browser():
    numbers = (1e-05, 5e-07, 100000.5, 1234567.0, -0.0, 2 / 3, 10)
    assert [short(number) for number in numbers] == ["0.00001", "0.0000005", "100001", "1234570", "0", "0.666667", "10"]
