"""The motion LoRAs of Loom Mini: they do what their names say, at every strength, where and when they are asked to.

The prompts name shapes and colours that the training of the LoRAs never saw. How often that is so, for
more of them, is in demo/loom_mini/README.md.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import comfy.sample
import pytest
import torch
from animatediff_loom.motion_modules.files.motion_lora import add_motion_lora, load_motion_lora
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.nodes.load_loom_mini import LoadLoomMini
from animatediff_loom.nodes.motion_lora import MotionLoraNode
from animatediff_loom.nodes.motion_strength import MotionStrengthNode
from animatediff_loom.sampling.animate import animate
from loom_mini.measures import ClipReading, read_clip
from loom_mini.motion_paths import read_strength
from loom_mini.world import FRAMES, Scene, draw_clip

from tests.support.motion_models import apply_windows

STEPS, CFG = 8, 4.0
OBJECTS = ("a blue circle", "a red square standing still")
UP, TURN = "loom_mini_up.safetensors", "loom_mini_turn.safetensors"
LONG = 24  # frames, in two windows of 16


@pytest.fixture(scope="module")
def mini():
    return LoadLoomMini.execute().result


def add_lora(mini, strength: float, file: str = UP) -> Any:
    """Return Loom Mini's motion model with a LoRA."""
    return MotionLoraNode.execute(mini[3], file, strength)[0]


def sample(mini, model, text: str, frames: int = FRAMES, steps: int = STEPS, **options) -> torch.Tensor:
    prompts = [mini[1].encode_from_tokens_scheduled(mini[1].tokenize(each)) for each in (text, "")]
    noise = torch.randn(frames, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    options = {"latent_image": torch.zeros_like(noise), "disable_pbar": True, "seed": 1} | options
    return comfy.sample.sample(model, noise, steps, CFG, "euler", "normal", *prompts, **options)


@torch.inference_mode()
def read(mini, latents: torch.Tensor) -> ClipReading:
    return read_clip(mini[2].decode(latents).movedim(-1, 1).cpu())


def film(mini, motion_model, text: str, **options) -> ClipReading:
    """Return what a clip shows."""
    return read(mini, sample(mini, animate(mini[0], motion_model, MotionSettings()), text, **options))


@pytest.mark.parametrize("text", OBJECTS)
@pytest.mark.parametrize(("strength", "least", "most"), [(1.0, 0.6, 1.5), (0.0, -0.3, 0.3), (-1.0, -1.5, -0.6)])
def test_objects_go_up_with_the_strength_and_down_below_zero(mini, text, strength, least, most):
    reading = film(mini, add_lora(mini, strength), text)
    assert least < read_strength(reading, "up") < most
    assert all(frame.colour == text.split()[1] and frame.shape == text.split()[2] for frame in reading.frames)
