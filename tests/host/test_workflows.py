"""Every example workflow, queued over the API in the real server, makes a video that can be decoded."""

import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from urllib.request import urlopen

import numpy
import pytest
from host.checkout import PACK
from host.prompts import set_everywhere
from host.server import Server
from PIL import Image
from safetensors import safe_open
from synthetic_motion import site_channels

from tests.support.server import HostModels
from tests.support.workflows import (
    EXAMPLE_FRAMES,
    EXAMPLE_SIZE,
    WORKFLOW_NAMES,
    WORKFLOWS,
    decode_video,
    distances,
    example_frames,
    example_size,
    find_template,
    frame_rate,
    load_twin,
    node_inputs,
    run_latents,
    small_prompt,
)

Entry = dict[str, dict]
LARGEST_PICTURE = 100_000  # bytes
FRESH, TRAINED = "scale_shift", "temporal_transformer"
SITES_OF_V3 = set(site_channels((320, 320, 320, 320), mid=False))


@pytest.fixture(scope="module")
def run_small(
    host_server: Server, models_for: Callable[[str], HostModels], files_for: Callable[[str], dict[str, str]]
) -> Callable[[str], Entry]:
    """Runs a workflow made small, only once, and returns its entry in the history."""

    @cache
    def run(name: str) -> Entry:
        models = models_for(name)
        prompt = small_prompt(name, models.checkpoint, models.motion_model, steps=2 if "fast" in name else 1)
        for input_name, file in files_for(name).items():
            set_everywhere(prompt, input_name, file)
        return host_server.run(prompt)

    return run


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_workflow_makes_a_moving_video(name: str, host_server: Server, run_small: Callable[[str], Entry]):
    (video,) = host_server.files(run_small(name))

    frames = decode_video(video).astype(float)
    assert frames.shape == (example_frames(name), example_size(name), example_size(name), 3)
    assert frames.std(axis=(1, 2, 3)).min() > 2, "a frame is of one colour"
    assert abs(frames[1:] - frames[:-1]).mean(axis=(1, 2, 3)).min() > 0.5, "two frames in a row are the same"


def test_prompt_travel_shows_the_prompts_of_every_frame(run_small: Callable[[str], Entry]):
    (table,) = (output["text"][0] for output in run_small("prompt_travel")["outputs"].values() if "text" in output)
    frames = range(example_frames("prompt_travel"))
    assert [line.split(":")[0] for line in table.splitlines()] == ["prefix", "suffix", *map(str, frames)]


def test_controlnet_video_follows_its_video(host_server: Server, run_small: Callable[[str], Entry]):
    """The clip has the rate of the video, and a picture of edges for every frame."""
    entry = run_small("controlnet_video")
    (video,) = host_server.files(entry)
    assert frame_rate(video) == 12

    edges = numpy.stack([numpy.asarray(Image.open(file)) for file in previews(host_server, entry)])
    assert edges.shape == (example_frames("controlnet_video"), EXAMPLE_SIZE, EXAMPLE_SIZE, 3)
    assert edges.max(axis=(1, 2, 3)).min() == 255, "a picture has no edges"
    assert (edges[1:] != edges[:-1]).any(axis=(1, 2, 3)).all(), "the edges stand still"


def test_video_to_video_keeps_the_rate_of_its_video(host_server: Server, run_small: Callable[[str], Entry]):
    (video,) = host_server.files(run_small("video_to_video"))
    assert frame_rate(video) == 12


def test_lora_per_frame_changes_the_last_frames_alone(host_server: Server, sd15_models: HostModels, lora: str):
    """Without a motion model, so that the frames know nothing of each other."""
    prompt = small_prompt("lora_per_frame", sd15_models.checkpoint, sd15_models.motion_model, steps=1)
    set_everywhere(prompt, "lora_name", lora)
    node_inputs(prompt, "LoomApplyMotionModel")["strength"] = 0.0
    hooked = run_latents(host_server, prompt)
    set_everywhere(prompt, "strength_model", 0.0)
    changed = distances(hooked, run_latents(host_server, prompt))
    assert changed[:8].max() < 1e-5 < 1e-3 < changed[8:].min()


def test_custom_module_saves_a_motion_model_that_loads(host_server: Server, run_small: Callable[[str], Entry]):
    """It has the new architecture at the chosen places, and AnimateDiff's own at all others."""
    (name,) = shown(run_small("custom_module"), "custom_module")["File in the output folder"]["text"]
    file = host_server.folder / "output" / name
    with safe_open(file, "pt") as opened:
        architectures = dict(re.findall(rf"^(.+?)\.({FRESH}|{TRAINED})\.", "\n".join(opened.keys()), re.MULTILINE))
    fresh = {"mid_block.motion_modules.0", *(f"up_blocks.0.motion_modules.{index}" for index in range(3))}
    assert architectures == dict.fromkeys(SITES_OF_V3, TRAINED) | dict.fromkeys(fresh, FRESH)

    shutil.move(file, host_server.folder / "models" / "animatediff_models" / file.name)
    load = {"class_type": "LoomLoadMotionModel", "inputs": {"motion_model": file.name, "family": "auto"}}
    info = {"class_type": "LoomMotionModelInfo", "inputs": {"motion_model": ["load", 0]}}
    (text,) = host_server.run({"load": load, "info": info})["outputs"]["info"]["text"]
    assert "sites: 21 (down 8, mid 1, up 12)\n" in text and f"architecture: {FRESH}, {TRAINED}\n" in text


def test_inspect_motion_shows_texts_plots_and_json(host_server: Server, run_small: Callable[[str], Entry]):
    entry = run_small("inspect_motion")
    outputs = shown(entry, "inspect_motion")
    for node, text in (("Show Sampling Report", "Report as text"), ("Video Metrics", "Metrics as text")):
        assert outputs[text]["text"] == outputs[node]["text"]
    (report,), (metrics,) = (outputs[f"{name} as text"]["text"] for name in ("Report", "Metrics"))
    assert re.match(rf"Run \d+, complete: {EXAMPLE_FRAMES} frames, ", report)
    assert metrics.startswith(f"clip: {EXAMPLE_FRAMES} frames, {EXAMPLE_SIZE} x {EXAMPLE_SIZE}\nflicker: ")

    numbers = json.loads(outputs["Report as JSON"]["text"][0])
    attending = {each["site"] for each in numbers["attention_maps"]}
    assert attending == {each["site"] for each in numbers["sites"]} == SITES_OF_V3
    drawn = {title: len(output["images"]) for title, output in outputs.items() if "images" in output}
    plots = {"Show Sampling Report": 1, "Attention of each motion module": len(attending), "Video Metrics": 1}
    assert drawn == plots | {"Save Video": 1}
    assert all(numpy.asarray(Image.open(file)).std() > 5 for file in previews(host_server, entry))


def shown(entry: Entry, workflow: str) -> dict[str, dict]:
    """Return what the nodes of a finished workflow show, by their titles."""
    prompt = load_twin(workflow)
    return {
        prompt[number]["_meta"]["title"].partition(" \u00b7 ")[0]: output for number, output in entry["outputs"].items()
    }


def previews(server: Server, entry: Entry) -> list[Path]:
    """The pictures that a prompt only showed."""
    items = (item for output in entry["outputs"].values() for item in output.get("images", []))
    return [server.folder / "temp" / item["filename"] for item in items if item["type"] == "temp"]


def test_every_workflow_is_numbered_and_has_a_picture():
    """The frontend sorts and finds templates by the names of their files."""
    names = sorted(file.stem for file in WORKFLOWS.glob("*.json"))
    assert names == [f"animatediff_{number:02}_{name}" for number, name in enumerate(WORKFLOW_NAMES, 1)]
    assert sorted(file.stem for file in WORKFLOWS.glob("*.jpg")) == names
    assert sorted(file.stem for file in (WORKFLOWS / "api").glob("*.json")) == names
    assert [file.name for file in WORKFLOWS.glob("*.jpg") if file.stat().st_size > LARGEST_PICTURE] == []


def test_workflows_are_among_the_templates(host_server: Server):
    names = [find_template(name).stem for name in WORKFLOW_NAMES]
    assert set(host_server.get("/workflow_templates")[PACK]) == set(names)
    for name in names:
        with urlopen(f"{host_server.url}/api/workflow_templates/{PACK}/{name}.jpg") as picture:
            assert picture.headers.get_content_type() == "image/jpeg"
