"""The graph of a prompt says where the latent of a sampler comes from, and which samplers share its motion."""

import importlib

import pytest
import torch
from animatediff_loom.nodes import ApplyMotionModel
from animatediff_loom.sampling.frame_advice import advise_more_frames
from animatediff_loom.sampling.running_prompt import APPLY_NODE, RunningPrompt, find_running_prompt

import nodes

EXTRAS = ("custom_sampler", "model_advanced")
NODES = {
    "load": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
    "apply": {"class_type": "LoomApplyMotionModel", "inputs": {"model": ["load", 0], "strength": 1.0}},
    "shift": {"class_type": "ModelSamplingDiscrete", "inputs": {"model": ["apply", 0], "sampling": "eps"}},
    "empty": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "batch_size": 1}},
    "first": {"class_type": "KSampler", "inputs": {"model": ["apply", 0], "latent_image": ["empty", 0], "seed": 1}},
    "wide": {"class_type": "LatentUpscaleBy", "inputs": {"samples": ["first", 0]}},
    "guider": {"class_type": "BasicGuider", "inputs": {"model": ["shift", 0]}},
    "second": {"class_type": "SamplerCustomAdvanced", "inputs": {"guider": ["guider", 0], "latent_image": ["wide", 0]}},
    "still": {"class_type": "KSampler", "inputs": {"model": ["load", 0], "latent_image": ["second", 0]}},
    "picture": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
    "encoded": {"class_type": "VAEEncode", "inputs": {"pixels": ["picture", 0], "vae": ["load", 2]}},
    "again": {"class_type": "KSampler", "inputs": {"model": ["shift", 0], "latent_image": ["encoded", 0]}},
    "tiles": {"class_type": "A tiled upscaler", "inputs": {"model": ["shift", 0], "image": ["picture", 0]}},
}
EMPTY = torch.zeros(1, 4, 8, 8)


@pytest.fixture(autouse=True)
def extra_nodes(monkeypatch):
    """A server loads these by itself."""
    custom, advanced = (importlib.import_module(f"comfy_extras.nodes_{name}") for name in EXTRAS)
    extras = {"SamplerCustomAdvanced": custom.SamplerCustomAdvanced, "BasicGuider": custom.BasicGuider}
    extras |= {"ModelSamplingDiscrete": advanced.ModelSamplingDiscrete, APPLY_NODE: ApplyMotionModel}
    for name, node in extras.items():
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, name, node)


def running(node_id: str, **changes: dict) -> RunningPrompt:
    return RunningPrompt(NODES | changes, node_id)


def test_samplers_of_the_same_motion():
    assert ApplyMotionModel.GET_SCHEMA().node_id == APPLY_NODE
    assert running("first").list_other_samplers() == ["second", "again"]
    assert running("second").list_other_samplers() == ["first", "again"]
    assert running("still").list_other_samplers() == []


def test_a_signature_changes_with_what_a_result_depends_on():
    other_seed = {"first": {**NODES["first"], "inputs": {**NODES["first"]["inputs"], "seed": 2}}}
    before, after = running("second"), running("second", **other_seed)
    assert before.sign("second") == running("first").sign("second") != after.sign("second")
    assert before.sign("again") == after.sign("again")


@pytest.mark.parametrize(
    ("prompt", "advice"),
    [
        (running("first"), "Raise `batch_size` of Empty Latent Image."),
        (running("second"), "Raise `batch_size` of Empty Latent Image."),
        (running("again"), "Add Repeat Latent Batch after VAE Encode, or encode a video."),
        (running("tiles"), "Connect A tiled upscaler, which samples one picture at a time, to the model from before"),
        (
            running("first", empty={"class_type": "EmptyLatentImage", "inputs": {"batch_size": 16}}),
            "Connect KSampler, which samples one picture at a time",
        ),
        (
            running("first", empty={"class_type": "EmptyLatentImage", "inputs": {"batch_size": ["number", 0]}}),
            "Raise `batch_size` of Empty Latent Image.",
        ),
        (
            running("again", again={"class_type": "KSampler", "inputs": {"model": ["apply", 0]}}),
            "Add Repeat Latent Batch before KSampler.",
        ),
        (None, "Raise `batch_size` of Empty Latent Image."),
    ],
)
def test_advice_names_what_the_prompt_has(prompt, advice):
    assert advise_more_frames(prompt, EMPTY).startswith(advice)


def test_advice_for_a_picture_outside_a_prompt():
    assert "Repeat Latent Batch" in advise_more_frames(None, EMPTY + 1)


def test_there_is_no_prompt_outside_a_server():
    assert find_running_prompt() is None
