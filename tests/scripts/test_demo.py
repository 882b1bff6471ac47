import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import psutil
import pytest
import torch
from host.checkout import HOSTS, ROOT
from host.releases import NEWEST
from host.weights import NOISE, ModelFiles
from loom_mini.measures import read_clip
from PIL import Image

from tests.support.workflows import decode_video

DEMO = ROOT / "scripts" / "demo.py"
WORKFLOW = ROOT / "workflows" / "api" / "animatediff_02_text_to_video.json"
INTERRUPT = signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGINT


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory, tree: Path, sd15_files: ModelFiles) -> list[str]:
    folder = tmp_path_factory.mktemp("demo")
    models = ["--checkpoint", sd15_files.checkpoint, "--motion-model", sd15_files.motion_model]
    host = ["--comfyui", tree, "--python", sys.executable, "--cpu", "--folder", folder]
    return [str(part) for part in (sys.executable, DEMO, *host, *models, "--size", "64", "--prompt", "a fox")]


def start(command: list[str]) -> subprocess.Popen[str]:
    group = subprocess.CREATE_NEW_PROCESS_GROUP if os.name == "nt" else 0
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, creationflags=group)


def family_with_server(demo: subprocess.Popen[str]) -> list[psutil.Process]:
    process = psutil.Process(demo.pid)
    while not (children := process.children(recursive=True)):
        time.sleep(0.05)
    return [process, *children]


def wait_for_line(demo: subprocess.Popen[str], text: str) -> None:
    read = ""
    for line in demo.stdout:
        read += line
        if text in line:
            return
    pytest.fail(f"The demo ended without {text!r}:\n{read}")


def test_the_demo_ends_with_a_video_and_its_time(command: list[str]):
    done = subprocess.run([*command, "--steps", "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    path, seconds = done.stdout.splitlines()[-2:]
    assert "KSampler" in done.stdout and "2/2" in done.stdout
    assert float(seconds.removeprefix("made in ").removesuffix(" s")) > 0
    with av.open(path) as video:
        assert [(frame.width, frame.height) for frame in video.decode(video=0)] == [(64, 64)] * 16
        queued = json.loads(video.metadata["prompt"])
    with Image.open(Path(path).with_suffix(".png")) as strip:
        assert strip.size == (8 * 128 + 7 * 2, 2 * 128 + 2)
    positive = next(node["inputs"]["positive"][0] for node in queued.values() if "positive" in node["inputs"])
    assert queued[positive]["inputs"]["text"] == "a fox"
    assert NOISE not in done.stdout


def test_without_options_the_demo_shows_a_red_circle_moving_right(tmp_path: Path):
    done = subprocess.run([sys.executable, str(DEMO), "--folder", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Starting ComfyUI in {HOSTS / NEWEST}" in done.stdout
    assert NOISE not in done.stdout
    assert done.stdout.splitlines()[-1].endswith("demo.py --open")
    seen = read_clip(
        torch.from_numpy(decode_video(Path(done.stdout.splitlines()[-3]))).permute(0, 3, 1, 2).float() / 255
    )
    assert (seen.motion, seen.most_common("colour"), seen.most_common("shape")) == ("right", "red", "circle")
    assert len(seen.frames) == 16


def test_with_another_workflow_and_no_models_the_demo_says_that_the_video_is_noise(tmp_path: Path):
    small = ["--workflow", str(WORKFLOW), "--size", "16", "--steps", "1", "--folder", str(tmp_path)]
    done = subprocess.run([sys.executable, str(DEMO), *small], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert NOISE in done.stdout
    assert decode_video(Path(done.stdout.splitlines()[-2])).shape == (16, 16, 16, 3)


@pytest.mark.parametrize("moment", ["Starting ComfyUI", "1/500"])
def test_an_interrupt_leaves_no_process(command: list[str], moment: str):
    demo = start([*command, "--steps", "500"])
    wait_for_line(demo, moment)
    family = family_with_server(demo)
    demo.send_signal(INTERRUPT)
    rest = demo.communicate(timeout=60)[0]
    assert demo.returncode == 1
    assert "Interrupted" in rest
    assert not psutil.wait_procs(family, timeout=10)[1]


def test_a_failure_is_the_servers_own_error(command: list[str], tmp_path: Path):
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    done = subprocess.run(
        [*command, "--motion-model", str(tmp_path / "damaged.safetensors")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "LoomLoadMotionModel: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--checkpoint", "none.safetensors"], "--checkpoint none.safetensors is not a file"),
        (["--comfyui", "nowhere"], "--comfyui nowhere is no ComfyUI"),
        (["--python", "nothing"], "--python nothing is not a file"),
        (["--open", "--steps", "4"], "--open does not take --prompt, --size, --steps: change the graph"),
    ],
)
def test_a_wrong_option_is_named(command: list[str], option: list[str], message: str):
    done = subprocess.run([*command, *option], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
