"""Wrong inputs fail with one error before sampling, and the next prompt in the queue succeeds."""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from host.server import Prompt, PromptError, Server
from safetensors.torch import save_file
from synthetic_motion import LAYOUTS, SDXL_WIDTHS, motion_model_state_dict

from tests.support.server import HostModels
from tests.support.texts import must_fail
from tests.support.workflows import decode_video, node_inputs, small_prompt

NARROW = (320, 320, 320, 320)
SEEDS = count(1)


@pytest.fixture
def file_in(host_server: Server) -> Iterator[Callable[[str], Path]]:
    """Places for motion model files that are gone after the test."""
    files: list[Path] = []

    def place(name: str) -> Path:
        files.append(host_server.folder / "models" / "animatediff_models" / name)
        return files[-1]

    yield place
    for file in set(files):
        file.unlink()


def clip(models: HostModels, frames: int = 2) -> Prompt:
    prompt = small_prompt("text_to_video", models.checkpoint, models.motion_model, steps=1)
    node_inputs(prompt, "EmptyLatentImage")["batch_size"] = frames
    node_inputs(prompt, "KSampler")["seed"] = next(SEEDS)
    return prompt


def info(motion_model: str) -> Prompt:
    load = {"class_type": "LoomLoadMotionModel", "inputs": {"motion_model": motion_model, "family": "auto"}}
    return {"1": load, "2": {"class_type": "LoomMotionModelInfo", "inputs": {"motion_model": ["1", 0]}}}


def describe_good(server: Server, models: HostModels) -> None:
    outputs = server.run(info(models.motion_model))["outputs"]["2"]
    assert "AnimateDiff v3" in outputs["text"][0]


def succeed(server: Server, models: HostModels) -> None:
    (video,) = server.files(server.run(clip(models)))
    assert len(decode_video(video)) == 2


def test_one_frame(host_server: Server, sd15_models: HostModels):
    must_fail(host_server, clip(sd15_models, 1), "KSampler", "1 frame", sd15_models.motion_model, "batch_size")
    succeed(host_server, sd15_models)


def test_more_frames_than_positions(host_server: Server, sd15_models: HostModels):
    must_fail(host_server, clip(sd15_models, 33), "KSampler", "33 frames", "32", "Context Windows")
    succeed(host_server, sd15_models)


def test_sdxl_motion_model_on_sd15(host_server: Server, sd15_models: HostModels, file_in: Callable[[str], Path]):
    weights = motion_model_state_dict((320,) * len(SDXL_WIDTHS), dtype=torch.float16, **LAYOUTS["sdxl"])
    save_file(weights, file_in("synthetic_sdxl.safetensors"))
    wrong = replace(sd15_models, motion_model="synthetic_sdxl.safetensors")
    must_fail(host_server, clip(wrong), "LoomApplyMotionModel", "synthetic_sdxl.safetensors", "SDXL", "SD1.5")
    succeed(host_server, sd15_models)


def test_sd15_motion_model_on_sdxl(host_server: Server, sd15_models: HostModels, sdxl_models: HostModels):
    wrong = small_prompt("text_to_video", sdxl_models.checkpoint, sd15_models.motion_model)
    kept = {key: node for key, node in wrong.items() if key in ("2", "3", "4")}
    only_patching = kept | {"5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}}}
    must_fail(host_server, only_patching, "LoomApplyMotionModel", sd15_models.motion_model, "SD1.5", "SDXL")
    succeed(host_server, sd15_models)


def test_weights_that_are_not_numbers(host_server: Server, sd15_models: HostModels, file_in: Callable[[str], Path]):
    weights = motion_model_state_dict(NARROW, dtype=torch.float16, **LAYOUTS["v3"])
    broken = next(name for name in weights if name.endswith("to_q.weight"))
    weights[broken][3, 5] = float("nan")
    save_file(weights, file_in("with_nan.safetensors"))
    wrong = replace(sd15_models, motion_model="with_nan.safetensors")
    must_fail(host_server, clip(wrong), "LoomApplyMotionModel", "with_nan.safetensors", "NaN", broken)
    weights[broken][3, 5] = 0.0
    save_file(weights, file_in("with_nan.safetensors"))
    succeed(host_server, wrong)


def test_file_without_motion_modules(host_server: Server, sd15_models: HostModels, file_in: Callable[[str], Path]):
    save_file({"first_stage_model.weight": torch.zeros(2)}, file_in("a_vae.safetensors"))
    must_fail(host_server, info("a_vae.safetensors"), "LoomLoadMotionModel", "a_vae.safetensors", "no motion modules")
    describe_good(host_server, sd15_models)


def test_file_that_is_cut_short(host_server: Server, sd15_models: HostModels, file_in: Callable[[str], Path]):
    whole = motion_model_state_dict((32, 32, 32, 32), **LAYOUTS["v3"])
    file = file_in("half.safetensors")
    save_file(whole, file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    must_fail(host_server, info("half.safetensors"), "LoomLoadMotionModel", "half.safetensors", "incomplete")
    describe_good(host_server, sd15_models)


class Malice:
    def __reduce__(self):
        return Path.touch, (Path("code_ran"),)


def test_pickle_with_code(host_server: Server, sd15_models: HostModels, file_in: Callable[[str], Path]):
    file_in("malice.ckpt").write_bytes(pickle.dumps({"state_dict": Malice()}, protocol=2))
    must_fail(host_server, info("malice.ckpt"), "LoomLoadMotionModel", "malice.ckpt", "never run", ".safetensors")
    assert not (host_server.tree / "code_ran").exists()
    describe_good(host_server, sd15_models)


def test_camera_model_is_named(host_server: Server, sd15_models: HostModels, file_in: Callable[[str], Path]):
    save_file({"pose_encoder.encoder_conv_in.weight": torch.zeros(2)}, file_in("camera.safetensors"))
    must_fail(host_server, info("camera.safetensors"), "LoomLoadMotionModel", "CameraCtrl", "camera path")
    describe_good(host_server, sd15_models)


def test_file_that_is_not_there(host_server: Server, sd15_models: HostModels):
    """ComfyUI itself has only "Value not in list"."""
    with pytest.raises(PromptError, match=r"'not_there\.safetensors', which is not in '.*animatediff_models'"):
        host_server.queue(info("not_there.safetensors"))
    describe_good(host_server, sd15_models)
