from pathlib import Path

import pytest
from host.prompts import load_prompt, set_everywhere, set_positive_prompt


@pytest.fixture
def prompt() -> dict:
    return {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["9", 1]}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "good", "clip": ["9", 1]}},
        "3": {"class_type": "ControlNetApplyAdvanced", "inputs": {"positive": ["2", 0], "negative": ["1", 0]}},
        "4": {"class_type": "KSampler", "inputs": {"positive": ["3", 0], "negative": ["3", 1], "steps": 20}},
        "9": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}},
    }


def test_a_workflow_of_the_frontend_is_refused(tmp_path: Path):
    file = tmp_path / "workflow.json"
    file.write_text('{"nodes": [], "links": [], "version": 0.4}')
    with pytest.raises(ValueError, match="no workflow in API format"):
        load_prompt(file)


def test_the_text_behind_the_sampler_is_replaced_and_no_other(prompt: dict):
    set_positive_prompt(prompt, "a fox")
    assert (prompt["1"]["inputs"]["text"], prompt["2"]["inputs"]["text"]) == ("bad", "a fox")


def test_a_text_that_is_computed_is_not_overwritten(prompt: dict):
    prompt["2"]["inputs"]["text"] = ["5", 0]
    with pytest.raises(ValueError, match=r"node 2 \(CLIPTextEncode\)"):
        set_positive_prompt(prompt, "a fox")


def test_a_prompt_without_a_sampler_is_refused(prompt: dict):
    with pytest.raises(ValueError, match="'positive'"):
        set_positive_prompt({"9": prompt["9"]}, "a fox")


def test_a_value_goes_to_every_node_that_takes_it(prompt: dict):
    prompt["5"] = {"class_type": "KSamplerAdvanced", "inputs": {"steps": 30}}
    prompt["6"] = {"class_type": "KSampler", "inputs": {"steps": ["7", 0]}}
    set_everywhere(prompt, "steps", 4)
    assert [prompt[key]["inputs"]["steps"] for key in "456"] == [4, 4, ["7", 0]]


def test_a_value_without_a_place_is_refused(prompt: dict):
    with pytest.raises(ValueError, match="'width'"):
        set_everywhere(prompt, "width", 128)
