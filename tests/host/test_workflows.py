"""Every example workflow, queued over the API in the real server, makes a video that can be decoded."""

from collections.abc import Callable
from urllib.request import urlopen

import pytest
from example_workflows import FOLDER, FRAMES, NAMES, SIZE, decode, small_prompt
from host.checkout import PACK
from host.server import Server
from server_fixtures import HostModels


@pytest.mark.parametrize("name", NAMES)
def test_workflow_makes_a_moving_video(name: str, host_server: Server, models_for: Callable[[str], HostModels]):
    models = models_for(name)
    prompt = small_prompt(name, models.checkpoint, models.motion_model, steps=2 if "fast" in name else 1)

    (video,) = host_server.files(host_server.run(prompt))

    frames = decode(video).astype(float)
    assert frames.shape == (FRAMES, SIZE, SIZE, 3)
    assert frames.std(axis=(1, 2, 3)).min() > 2, "a frame is of one colour"
    assert abs(frames[1:] - frames[:-1]).mean(axis=(1, 2, 3)).min() > 0.5, "two frames in a row are the same"


def test_every_workflow_is_tested_and_has_a_picture():
    assert {file.stem for file in FOLDER.glob("*.json")} == set(NAMES)
    assert {file.stem for file in FOLDER.glob("*.jpg")} == set(NAMES)
    assert {file.stem for file in (FOLDER / "api").glob("*.json")} == set(NAMES)


def test_workflows_are_among_the_templates(host_server: Server):
    assert set(host_server.get("/workflow_templates")[PACK]) == set(NAMES)
    for name in NAMES:
        with urlopen(f"{host_server.url}/api/workflow_templates/{PACK}/{name}.jpg") as picture:
            assert picture.headers.get_content_type() == "image/jpeg"
