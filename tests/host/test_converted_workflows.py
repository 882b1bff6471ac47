"""Converted workflows run in the real server, with Loom Mini in place of their models."""

import json
from pathlib import Path

import pytest
from conversion.api_format import convert_prompt
from conversion.rules import load_rules
from host import loom_mini
from host.server import Prompt, Server

from tests.support.evolved_graphs import COMMON, FRAMES, MOTION, as_prompt
from tests.support.workflows import decode_video

RULES = load_rules()


@pytest.mark.parametrize("name", ["looped", "prompt_travel", "text_to_video"])
def test_a_converted_workflow_makes_a_moving_video(name: str, host_server: Server):
    prompt, _ = convert_prompt(_with_loom_mini(as_prompt(COMMON[name](), RULES)), RULES)
    (video,) = host_server.files(host_server.run(prompt))
    frames = decode_video(Path(video)).astype(float)
    assert len(frames) == FRAMES
    assert abs(frames[1:] - frames[:-1]).mean(axis=(1, 2, 3)).min() > 0.1, "two frames in a row are the same"


def _with_loom_mini(prompt: Prompt) -> Prompt:
    prompt = json.loads(json.dumps(prompt).replace(MOTION, loom_mini.MOTION_MODEL.name))
    (checkpoint,) = (node for node in prompt.values() if node["class_type"] == "CheckpointLoaderSimple")
    checkpoint |= {"class_type": loom_mini.LOADER, "inputs": {}}
    return prompt
