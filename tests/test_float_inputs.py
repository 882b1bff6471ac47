"""A float input that is NaN or infinite is refused by every node, before anything is sampled.

The host lets NaN pass, since it is neither below a minimum nor above a maximum, and does not check
a linked input.
"""

from collections.abc import Callable, Iterator
from math import inf, nan

import pytest
import torch
from animatediff_loom.motion_modules.files.motion_lora import add_motion_lora, parse_motion_lora
from animatediff_loom.motion_modules.files.motion_lora_hook import create_motion_lora_hook
from animatediff_loom.nodes import (
    NODES,
    ApplyMotionModel,
    ApplySparseControl,
    CameraControl,
    CameraPathNode,
    ContextWindows,
    FreeInit,
    ImageToVideo,
    MotionAmplifier,
    MotionLoraHookNode,
    MotionLoraNode,
    MotionStrengthNode,
    PreviewContextWindows,
    TemporalGuidanceNode,
    TrainMotionLora,
    TrainMotionModel,
    VideoNoise,
)
from animatediff_loom.sampling.camera.condition import follow_path
from animatediff_loom.sampling.camera.keyframes import follow_keyframes
from animatediff_loom.sampling.image_to_video.insertion import read_insertion
from comfy_api.latest import io

from tests.support.host import tiny_model
from tests.support.motion_loras import motion_lora_file
from tests.support.motion_models import apply_motion, apply_windows, load_motion
from tests.support.sampling import call
from tests.support.texts import expect_error


def preview(**inputs) -> None:
    PreviewContextWindows.execute(16, 4, {"schedule": "static"}, "pyramid", frames=32, steps=2, **inputs)


def make_noise(fresh_noise: float = 0.0, **inputs) -> None:
    camera = {"pan_x": 0.0, "pan_y": 0.0, "zoom": 1.0, "roll": 0.0, "path": "straight"} | inputs
    VideoNoise.execute(tiny_model(), {"noise_type": "camera"} | camera, fresh_noise)


def animate_black_pictures(reference_drift: float = 0.8, **inputs) -> None:
    read_insertion({"reference_drift": reference_drift})
    picture = torch.zeros(1, 64, 64, 3)
    ImageToVideo.execute(
        tiny_model(), None, 64, 64, 4, {"method": "auto"}, start_image=picture, end_image=picture, **inputs
    )


def guide(strength: float = 1.0, start_percent: float = 0.0, end_percent: float = 1.0) -> None:
    """Refused before the file and the pictures are looked at."""
    ApplySparseControl.execute([], [], None, None, {}, strength, start_percent, end_percent)


def train(node: type, learning_rate: float = 1e-4, rank: int | None = None, **inputs) -> None:
    """Refused before the model and the clips are looked at."""
    nested = {name: inputs.pop(name) for name in ("min_snr_gamma", "noise_offset") if name in inputs}
    size = {} if rank is None else {"rank": rank}
    objective = {"objective": "noise", **nested}
    node.execute(None, None, None, 2, learning_rate, **size, objective=objective, seed=0, filename_prefix="x", **inputs)


RUNS: dict[type, Callable] = {
    ImageToVideo: animate_black_pictures,
    ApplyMotionModel: lambda **inputs: apply_motion(tiny_model(), **inputs),
    VideoNoise: make_noise,
    CameraPathNode: lambda distance: CameraPathNode.execute(
        {"path": "keyframes", "keyframes": "8: pan 1", "easing": "linear"}, 16, distance
    ),
    CameraControl: lambda strength: follow_path(
        load_motion(), follow_keyframes("8: pan 1", 16, "linear", 2.0), strength
    ),
    ApplySparseControl: guide,
    ContextWindows: lambda **inputs: apply_windows(tiny_model(), **inputs),
    MotionAmplifier: lambda **inputs: MotionAmplifier.execute(tiny_model(), **({"beta": 1.5} | inputs)),
    TemporalGuidanceNode: lambda **inputs: TemporalGuidanceNode.execute(tiny_model(), **({"scale": 1.0} | inputs)),
    FreeInit: lambda **inputs: FreeInit.execute(
        tiny_model(), iterations=2, filter="box", variance_preserving=True, **inputs
    ),
    PreviewContextWindows: preview,
    MotionStrengthNode: lambda **inputs: call(
        MotionStrengthNode, **{"strength": [1.0]} | {k: [v] for k, v in inputs.items()}
    ),
    MotionLoraNode: lambda strength: add_motion_lora(
        load_motion(), parse_motion_lora("lora.ckpt", motion_lora_file()), strength
    ),
    TrainMotionLora: lambda **inputs: train(TrainMotionLora, rank=2, **inputs),
    TrainMotionModel: lambda **inputs: train(TrainMotionModel, **inputs),
    MotionLoraHookNode: lambda strength: create_motion_lora_hook(
        parse_motion_lora("lora.ckpt", motion_lora_file()), strength
    ),
}


def float_inputs(inputs) -> Iterator[str]:
    for each in inputs:
        if isinstance(each, io.Float.Input):
            yield each.id
        for option in getattr(each, "options", []):
            yield from float_inputs(getattr(option, "inputs", []))


FLOAT_INPUTS = [(node, name) for node in NODES for name in float_inputs(node.GET_SCHEMA().inputs)]


@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize(("node", "name"), FLOAT_INPUTS)
def test_only_numbers_are_taken(node: type, name: str, value: float):
    """A node that is not in RUNS has its first float input: add a call of it there."""
    with expect_error(f"`{name}` is {value}, but must be a finite number. Change `{name}`."):
        RUNS[node](**{name: value})
