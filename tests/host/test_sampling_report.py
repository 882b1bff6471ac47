"""The nodes that look inside, in the real server: what its cache, interruptions and a second sampler do to reports."""

import json
import re
from copy import deepcopy
from itertools import count

import pytest
from host.server import Progress, Prompt, PromptInterrupted, Server

from tests.support.workflows import mini_prompt

SEEDS = count(901)  # no other test samples with these, so that the first run is none from the cache
FRAMES, STEPS = 4, 2


def reported(seed: int, steps: int = STEPS) -> Prompt:
    """Loom Mini with a report between Apply Motion Model (3) and KSampler (7), and metrics of its pictures."""
    prompt = mini_prompt("a red circle moving right", seed, steps, batch_size=FRAMES)
    prompt["watch"] = node("LoomSamplingReport", model=["3", 0], attention_maps=True, attention_sites="up_blocks.3")
    prompt["7"]["inputs"]["model"] = ["watch", 0]
    prompt["show"] = node("LoomShowReport", report=["watch", 1], after=["7", 0])
    prompt["metrics"] = node("LoomVideoMetrics", images=["8", 0])
    return prompt


def node(class_type: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs}


def shown(server: Server, prompt: Prompt, name: str = "show", executed: list[str] | None = None) -> str:
    """The first line of what a Show Sampling Report node shows; class types that run are added to `executed`."""
    seen = [] if executed is None else executed
    entry = server.run(prompt, lambda progress: seen.append(progress.class_type))
    return entry["outputs"][name]["text"][0].splitlines()[0]


def number(line: str, seed: int, steps: int = STEPS) -> int:
    """Which run of the model it is, of those that it has to be; the host keeps the model over many prompts."""
    match = re.match(
        rf"Run (\d+), complete: {FRAMES} frames, .*, {steps} steps, {steps} evaluations, seed {seed}, ", line
    )
    assert match, line
    return int(match[1])


@pytest.fixture
def seed() -> int:
    return next(SEEDS)


def test_text_pictures_and_json(host_server: Server, seed: int):
    prompt = reported(seed)
    for name, slot in (("show", 3), ("metrics", 2)):
        prompt[f"{name} json"] = node("PreviewAny", source=[name, slot])
    outputs = host_server.run(prompt)["outputs"]
    assert number(outputs["show"]["text"][0], seed)
    assert outputs["metrics"]["text"][0].startswith(f"clip: {FRAMES} frames, 64 x 64")
    for name in ("show", "metrics"):
        (picture,) = outputs[name]["images"]
        assert (host_server.folder / "temp" / picture["filename"]).is_file()
    report, metrics = (json.loads(outputs[f"{name} json"]["text"][0]) for name in ("show", "metrics"))
    assert len(report["sites"]) == 20 and {each["site"][:11] for each in report["attention_maps"]} == {"up_blocks.3"}
    assert metrics["numbers"]["motion"] >= 0 and len(metrics["changes"]) == FRAMES - 1


def test_a_sampler_from_the_cache_keeps_its_report(host_server: Server, seed: int):
    prompt = reported(seed)
    first = shown(host_server, prompt)
    prompt["again"] = node("LoomShowReport", report=["watch", 1], after=["8", 0])
    executed: list[str] = []
    assert shown(host_server, prompt, "again", executed) == first
    assert "LoomShowReport" in executed and "KSampler" not in executed


def test_an_interrupted_run_is_no_report(host_server: Server, seed: int):
    first = number(shown(host_server, reported(seed)), seed)

    def stop(progress: Progress) -> None:
        if progress.class_type == "KSampler" and progress.value >= 1:
            host_server.interrupt()

    with pytest.raises(PromptInterrupted):
        host_server.run(reported(next(SEEDS), 40), stop)
    assert number(shown(host_server, reported(other := next(SEEDS))), other) == first + 2


def test_two_samplers_on_one_model(host_server: Server, seed: int):
    """Each node finds the run of its own sampler, in whatever order the host takes them."""
    prompt = reported(seed)
    prompt["second"] = deepcopy(prompt["7"])
    prompt["second"]["inputs"] |= {"seed": seed + 500, "steps": 1}
    prompt["show second"] = node("LoomShowReport", report=["watch", 1], after=["second", 0])
    outputs = host_server.run(prompt)["outputs"]
    assert number(outputs["show"]["text"][0], seed)
    assert number(outputs["show second"]["text"][0], seed + 500, steps=1)
