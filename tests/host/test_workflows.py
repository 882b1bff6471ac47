"""Every example workflow, queued over the API in the real server, makes a video that can be decoded."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from urllib.request import urlopen

import numpy
import pytest
from example_workflows import FOLDER, NAMES, SIZE, decode, frame_rate, frames_of, small_prompt
from host.checkout import PACK
from host.prompts import set_everywhere
from host.server import Server
from PIL import Image
from server_fixtures import HostModels

Entry = dict[str, dict]


@pytest.fixture(scope="module")
def run_small(
    host_server: Server, models_for: Callable[[str], HostModels], files_for: Callable[[str], dict[str, str]]
) -> Callable[[str], Entry]:
    """Runs a workflow made small, only once, and returns its entry in the history."""

    @cache
    def run(name: str) -> Entry:
        models = models_for(name)
        prompt = small_prompt(name, models.checkpoint, models.motion_model, steps=2 if "fast" in name else 1)
        for given, file in files_for(name).items():
            set_everywhere(prompt, given, file)
        return host_server.run(prompt)

    return run


@pytest.mark.parametrize("name", NAMES)
def test_workflow_makes_a_moving_video(name: str, host_server: Server, run_small: Callable[[str], Entry]):
    (video,) = host_server.files(run_small(name))

    frames = decode(video).astype(float)
    assert frames.shape == (frames_of(name), SIZE, SIZE, 3)
    assert frames.std(axis=(1, 2, 3)).min() > 2, "a frame is of one colour"
    assert abs(frames[1:] - frames[:-1]).mean(axis=(1, 2, 3)).min() > 0.5, "two frames in a row are the same"


def test_prompt_travel_shows_the_prompts_of_every_frame(run_small: Callable[[str], Entry]):
    (table,) = (output["text"][0] for output in run_small("prompt_travel")["outputs"].values() if "text" in output)
    frames = range(frames_of("prompt_travel"))
    assert [line.split(":")[0] for line in table.splitlines()] == ["prefix", "suffix", *map(str, frames)]


def test_controlnet_video_follows_its_video(host_server: Server, run_small: Callable[[str], Entry]):
    """The clip has the rate of the video, and a picture of edges for every frame."""
    entry = run_small("controlnet_video")
    (video,) = host_server.files(entry)
    assert frame_rate(video) == 12

    edges = numpy.stack([numpy.asarray(Image.open(file)) for file in previews(host_server, entry)])
    assert edges.shape == (frames_of("controlnet_video"), SIZE, SIZE, 3)
    assert edges.max(axis=(1, 2, 3)).min() == 255, "a picture has no edges"
    assert (edges[1:] != edges[:-1]).any(axis=(1, 2, 3)).all(), "the edges stand still"


def previews(server: Server, entry: Entry) -> list[Path]:
    """The pictures that a prompt only showed."""
    items = (item for output in entry["outputs"].values() for item in output.get("images", []))
    return [server.folder / "temp" / item["filename"] for item in items if item["type"] == "temp"]


def test_every_workflow_is_tested_and_has_a_picture():
    assert {file.stem for file in FOLDER.glob("*.json")} == set(NAMES)
    assert {file.stem for file in FOLDER.glob("*.jpg")} == set(NAMES)
    assert {file.stem for file in (FOLDER / "api").glob("*.json")} == set(NAMES)


def test_workflows_are_among_the_templates(host_server: Server):
    assert set(host_server.get("/workflow_templates")[PACK]) == set(NAMES)
    for name in NAMES:
        with urlopen(f"{host_server.url}/api/workflow_templates/{PACK}/{name}.jpg") as picture:
            assert picture.headers.get_content_type() == "image/jpeg"
