"""Motion Strength on Loom Mini in the real server: what a curve and a mask do, lists of ComfyUI's own nodes, errors."""

import numpy
import pytest
import torch
from host.server import Prompt, PromptError, Server
from loom_mini.measures import read_clip

from tests.support.workflows import (
    RIGHT,
    SIDE,
    add_half_masks,
    add_node,
    mini_prompt,
    node_inputs,
    require_node,
    run_latents,
    run_pictures,
)

TEXT = "a red circle moving right on a black background"
FRAMES, HALF = 16, 8


def with_strength(prompt: Prompt, **inputs) -> Prompt:
    apply = node_inputs(prompt, "LoomApplyMotionModel")
    apply["motion_strength"] = add_node(prompt, "LoomMotionStrength", strength=1.0, **inputs)
    return prompt


def places(server: Server, prompt: Prompt) -> list[float]:
    """Where the object is from left to right in each frame, in pixels of 64."""
    return [frame.x for frame in read_clip(run_pictures(server, prompt)).frames]


def speed(xs: list[float]) -> float:
    """Pixels per frame."""
    return float(numpy.polyfit(range(len(xs)), xs, 1)[0])


def test_a_curve_ends_the_motion_and_a_mask_stops_it_at_its_edge(host_server: Server):
    """Measured in pixels a frame: 2.3 and 2.0 without, -1.1 after frame 8 with the curve.

    With the mask, the object gets to 28 of 64 pixels, whose edge is at 32.
    """
    plain = places(host_server, mini_prompt(TEXT))
    ending = places(host_server, with_strength(mini_prompt(TEXT), frame_curve="7: 1, 8: 0"))
    masked_prompt = mini_prompt(TEXT)
    mask = add_node(masked_prompt, "InvertMask", mask=add_half_masks(masked_prompt, [(1, RIGHT)]))
    masked = places(host_server, with_strength(masked_prompt, mask=mask))
    assert speed(plain[:HALF]) > 1.5 < speed(plain[HALF:]) and plain[-1] > 40
    assert speed(ending[:HALF]) > 1.5 and speed(ending[HALF:]) < 0.5
    assert speed(masked[:HALF]) > 1.5 and speed(masked[HALF:]) < 0.5 and max(masked) < SIDE // 2


def test_a_list_of_the_host_gives_each_frame_its_level(host_server: Server):
    require_node(host_server, "CreateList")
    small = {"steps": 1, "batch_size": 4}
    prompt = mini_prompt(TEXT, **small)
    floats = [add_node(prompt, "PrimitiveFloat", value=value) for value in (1.0, 1.0, 0.0, 0.0)]
    names = {f"inputs.input{number}": link for number, link in enumerate(floats)}
    levels = add_node(prompt, "CreateList", **names)
    listed = run_latents(host_server, with_strength(prompt, levels=levels))
    curve = with_strength(mini_prompt(TEXT, **small), frame_curve="1: 1 hold, 2: 0")
    assert torch.equal(listed, run_latents(host_server, curve))
    assert not torch.equal(listed, run_latents(host_server, mini_prompt(TEXT, **small)))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"frame_curve": "0: 1, 8 0.2"}, r"`frame_curve` has '8 0.2' in line 1, column 7"),
        ({"sites": "down.9: 0.5"}, r"`sites` has 'down.9', which matches no site"),
    ],
)
def test_mistakes_are_named(host_server: Server, inputs, message):
    with pytest.raises(PromptError, match=message):
        host_server.run(with_strength(mini_prompt(TEXT, steps=1, batch_size=2), **inputs))
