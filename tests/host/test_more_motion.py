"""Motion Amplifier and Temporal Guidance in the real server, before and after Apply Motion Model."""

import pytest
import torch
from host.server import Prompt, PromptError, Server

from tests.support.workflows import TEXT, add_to_model, mini_prompt, node_inputs, run_latents

FRAMES, STEPS = 4, 2
NODES = {
    "LoomMotionAmplifier": ("beta", 2.0, 1.0, "Motion Amplifier"),
    "LoomTemporalGuidance": ("scale", 1.5, 0.0, "Temporal Guidance"),
}
each_node = pytest.mark.parametrize("node", NODES)


def plain_prompt() -> Prompt:
    return mini_prompt(TEXT, steps=STEPS, batch_size=FRAMES)


def add_before_the_motion_model(prompt: Prompt, node: str, **inputs) -> Prompt:
    """The same prompt with `node` between the checkpoint and Apply Motion Model."""
    applied = node_inputs(prompt, "LoomApplyMotionModel")
    prompt["added"] = {"class_type": node, "inputs": {"model": applied["model"], **inputs}}
    applied["model"] = ["added", 0]
    return prompt


@pytest.fixture(scope="module")
def plain(host_server: Server) -> torch.Tensor:
    return run_latents(host_server, plain_prompt())


@each_node
def test_it_changes_the_clip_on_either_side_of_the_motion_model(host_server: Server, plain: torch.Tensor, node: str):
    name, value, _, _ = NODES[node]
    after = run_latents(host_server, add_to_model(plain_prompt(), node, **{name: value}))
    before = run_latents(host_server, add_before_the_motion_model(plain_prompt(), node, **{name: value}))
    assert torch.equal(before, after)
    assert not torch.allclose(after, plain, atol=1e-3)


@each_node
def test_its_neutral_value_changes_nothing(host_server: Server, plain: torch.Tensor, node: str):
    name, _, neutral, _ = NODES[node]
    assert torch.equal(run_latents(host_server, add_to_model(plain_prompt(), node, **{name: neutral})), plain)


@each_node
def test_without_a_motion_model_it_is_refused(host_server: Server, node: str):
    name, value, _, shown = NODES[node]
    prompt = add_to_model(plain_prompt(), node, **{name: value})
    node_inputs(prompt, "LoomApplyMotionModel")["strength"] = 0.0
    with pytest.raises(PromptError, match=rf"The model has {shown}, but no motion model acts on it\. Connect Apply"):
        host_server.run(prompt)
