"""Fixtures of the server tests: a Lightning-shaped motion model, and a video with a ControlNet to follow it."""

from collections.abc import Callable

import pytest
import torch
from host import loom_mini
from host.server import Server
from host.weights import ModelFiles
from safetensors.torch import load_file, save_file
from synthetic_motion import LAYOUTS, motion_model_state_dict

from tests.support.server import HostModels

NARROW = (320, 320, 320, 320)


@pytest.fixture(scope="session")
def lightning_models(sd15_models: HostModels, host_server: Server) -> HostModels:
    """The SD1.5 checkpoint with a motion model of v2's layout, which is that of AnimateDiff-Lightning."""
    weights = motion_model_state_dict(NARROW, dtype=torch.float16, **LAYOUTS["v2"])
    file = host_server.folder / "models" / "animatediff_models" / "synthetic_lightning.safetensors"
    save_file(weights, file)
    return HostModels(sd15_models.checkpoint, file.name)


@pytest.fixture(scope="session")
def control_net(host_server: Server) -> str:
    """The name in `host_server` of a ControlNet that fits the SD1.5 checkpoint."""
    from tests.support.workflows import save_control_net

    file = host_server.folder / "models" / "controlnet" / "synthetic_control.safetensors"
    file.parent.mkdir(exist_ok=True)
    save_control_net(file)
    return file.name


@pytest.fixture(scope="session")
def sparse_control(host_server: Server) -> str:
    """The name in `host_server` of a SparseCtrl for sketches that fits the SD1.5 checkpoint."""
    from tests.support.sparse_controls import save_narrow_control

    file = host_server.folder / "models" / "controlnet" / "synthetic_sparse_control.safetensors"
    file.parent.mkdir(exist_ok=True)
    save_narrow_control(file)
    return file.name


@pytest.fixture(scope="session")
def input_video(host_server: Server) -> str:
    """The name of a video of 24 frames, 12 a second, in the input folder of `host_server`."""
    from tests.support.workflows import write_video

    file = host_server.folder / "input" / "moving_square.mp4"
    write_video(file, frames=24, rate=12)
    return file.name


@pytest.fixture(scope="session")
def input_picture(host_server: Server) -> str:
    """The name of a picture of 96 x 64 pixels in the input folder of `host_server`."""
    from tests.support.workflows import draw_picture

    file = host_server.folder / "input" / "square.png"
    draw_picture(left=20).save(file)
    return file.name


@pytest.fixture(scope="session")
def lora(host_server: Server) -> str:
    """The name in `host_server` of a LoRA that fits the SD1.5 checkpoint."""
    from tests.support.workflows import NARROW_WIDTH, save_lora

    file = host_server.folder / "models" / "loras" / "synthetic_lora.safetensors"
    file.parent.mkdir(exist_ok=True)
    save_lora(file, NARROW_WIDTH)
    return file.name


@pytest.fixture(scope="session")
def camera_lora(host_server: Server, sd15_files: ModelFiles) -> str:
    """The name in `host_server` of a motion LoRA of random weights that fits the motion model for SD1.5."""
    from tests.support.motion_loras import linear_layers, random_factors, spell

    layers = linear_layers(load_file(sd15_files.motion_model), r"to_q")
    return save_motion_lora(host_server, "synthetic_camera.safetensors", spell(random_factors(layers)))


@pytest.fixture(scope="session")
def motion_lora(host_server: Server) -> str:
    """The name in `host_server` of a motion LoRA of random weights that fits Loom Mini's motion model."""
    from tests.support.motion_loras import linear_layers, random_factors, spell

    layers = linear_layers(load_file(loom_mini.FOLDER / "loom_mini_motion.safetensors"))
    return save_motion_lora(host_server, "random.safetensors", spell(random_factors(layers), "PEFT"))


def save_motion_lora(server: Server, name: str, tensors: dict[str, torch.Tensor]) -> str:
    file = server.folder / "models" / "animatediff_motion_lora" / name
    file.parent.mkdir(exist_ok=True)
    save_file(tensors, file)
    return name


@pytest.fixture(scope="session")
def models_for(request: pytest.FixtureRequest) -> Callable[[str], HostModels]:
    """The synthetic models that stand in for those of a workflow."""
    others = {"text_to_video_fast": "lightning_models", "text_to_video_sdxl": "sdxl_models"}
    return lambda workflow: request.getfixturevalue(others.get(workflow, "sd15_models"))


@pytest.fixture(scope="session")
def files_for(request: pytest.FixtureRequest) -> Callable[[str], dict[str, str]]:
    """The further inputs of a workflow that name files, and the files that stand in for theirs."""
    fixtures = {
        "controlnet_video": {"control_net_name": "control_net", "file": "input_video"},
        "video_to_video": {"file": "input_video"},
        "picture_to_video": {"image": "input_picture"},
        "sparse_sketch": {"sparse_control": "sparse_control", "image": "input_picture"},
        "lora_per_frame": {"lora_name": "lora"},
        "motion_lora": {"motion_lora": "camera_lora"},
    }
    return lambda workflow: {
        name: request.getfixturevalue(fixture) for name, fixture in fixtures.get(workflow, {}).items()
    }
