"""Prompt Schedule in the real server: texts of other packs, negative prompts, parts of a video, and reports."""

import pytest
import torch
from host.server import Prompt, PromptError, Server

from tests.support.workflows import add_node, clip_link, distances, long_prompt, run_latents, sampler_inputs

FRAMES, CLOSE, DIFFERENT = 8, 1e-4, 1e-2
OURS = "0: a red circle moving right\n6: a green star moving right"


def schedule(prompt: Prompt, text: str, frames: int = FRAMES, **inputs) -> list:
    """Add a Prompt Schedule; return the link to its first output."""
    inputs = {"text": text, "frames": frames, "interpolation": "linear"} | inputs
    return add_node(prompt, "LoomPromptSchedule", clip=clip_link(prompt), **inputs)


def run_schedule(server: Server, text: str, negative: bool = False, **inputs) -> torch.Tensor:
    prompt = long_prompt(steps=2, frames=FRAMES)
    link = schedule(prompt, text, **inputs)
    sampler_inputs(prompt)["positive"] = link
    if negative:
        sampler_inputs(prompt)["negative"] = [link[0], 2]
    return run_latents(server, prompt)


def read_table(server: Server, text: str, frames: int, **inputs) -> list[str]:
    prompt = long_prompt(steps=1, frames=2)
    link = schedule(prompt, text, frames, **inputs)
    name = add_node(prompt, "PreviewAny", source=[link[0], 1])[0]
    needed = {name, link[0], clip_link(prompt)[0]}
    entry = server.run({number: node for number, node in prompt.items() if number in needed})
    return entry["outputs"][name]["text"][0].splitlines()


@pytest.fixture(scope="module")
def ours(host_server: Server) -> torch.Tensor:
    return run_schedule(host_server, OURS)


@pytest.mark.parametrize(
    "text",
    (
        '"0" :"a red circle moving right",\n"6" :"a green star moving right",',
        '\ufeff{"6": "a green star moving right",\r\n"0": "a red circle moving right"}\r\n',
    ),
)
def test_a_text_of_another_pack_makes_the_clip_of_ours(host_server: Server, ours: torch.Tensor, text: str):
    assert torch.equal(run_schedule(host_server, text), ours)


def test_head_and_tail_lines_are_prefix_and_suffix(host_server: Server):
    lines = run_schedule(host_server, f"on a grey background\n{OURS}\nno shadow")
    assert torch.equal(lines, run_schedule(host_server, OURS, prefix="on a grey background", suffix="no shadow"))


def test_a_negative_prompt_is_that_of_the_hosts_node(host_server: Server, ours: torch.Tensor):
    clip = run_schedule(host_server, OURS.replace("right", "right --neg blue square"), negative=True)
    prompt = long_prompt(steps=2, frames=FRAMES)
    sampler_inputs(prompt)["positive"] = schedule(prompt, OURS)
    sampler_inputs(prompt)["negative"] = add_node(prompt, "CLIPTextEncode", clip=clip_link(prompt), text="blue square")
    expected = run_latents(host_server, prompt)
    assert distances(clip, expected).max() < CLOSE and distances(clip, ours).max() > DIFFERENT


def test_without_a_negative_prompt_the_output_is_an_empty_one(host_server: Server):
    empty = long_prompt(steps=2, frames=FRAMES)
    sampler_inputs(empty)["positive"] = schedule(empty, OURS)
    sampler_inputs(empty)["negative"] = add_node(empty, "CLIPTextEncode", clip=clip_link(empty), text="")
    assert torch.equal(run_schedule(host_server, OURS, negative=True), run_latents(host_server, empty))


def test_a_test_run_of_a_longer_schedule_says_what_is_outside(host_server: Server):
    table = read_table(host_server, "0: spring\n8: summer\n16: fall\n32: winter", 16)
    assert table[0].endswith("outside it: 16, 32") and table[-1] == "15: 12.5% summer | 87.5% fall"


def test_a_part_of_a_schedule_of_7000_frames(host_server: Server):
    text = "0: a\n1117: b\n6500: c"
    whole = read_table(host_server, text, 7000)
    assert len(whole) == 7000 and whole[-1] == "6999: c"
    assert read_table(host_server, text, 500, start_frame=6500)[-500:] == whole[6500:]


@pytest.mark.parametrize("text", ('0: "a cat",', "a cat", '"0": "a', "0: (a:`t`)"))
def test_a_mistake_is_reported_once_when_the_workflow_is_queued(host_server: Server, text: str):
    prompt = long_prompt(steps=1, frames=FRAMES)
    link = sampler_inputs(prompt)["positive"] = schedule(prompt, text)
    add_node(prompt, "PreviewAny", source=[link[0], 1])
    with pytest.raises(PromptError) as caught:
        host_server.queue(prompt)
    errors = [error for node in caught.value.details["node_errors"].values() for error in node["errors"]]
    assert len(errors) == 1 and "The schedule in `text` has" in errors[0]["details"]
