"""The motion LoRAs of Loom Mini do what their names say, from prompts with shapes and colours that their training
never saw. How often they do it is in demo/loom_mini/README.md.
"""

from typing import Any

import comfy.sample
import pytest
import torch
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.nodes.load_loom_mini import LoadLoomMini
from animatediff_loom.nodes.motion_lora import MotionLoraNode
from animatediff_loom.sampling.animate import animate
from host.loom_mini import UP_LORA
from loom_mini.measures import ClipReading, read_clip
from loom_mini.motion_paths import read_strength
from loom_mini.world import FRAMES

from tests.support.motion_models import apply_windows, mini_latents

TEXT, STEPS, SEED = "a red square standing still", 8, 1
LARGEST = 5e5  # bytes of a LoRA


@pytest.fixture(scope="module")
def mini():
    return LoadLoomMini.execute().result


def add_lora(mini, strength: float) -> Any:
    """Return Loom Mini's motion model with the LoRA "up", which the node lists without a file of the user."""
    return MotionLoraNode.execute(mini[3], UP_LORA.name, strength)[0]


@torch.inference_mode()
def film(mini, motion_model) -> ClipReading:
    latents = mini_latents(mini, motion_model, TEXT, frames=FRAMES, steps=STEPS, seed=SEED)
    return read_clip(mini[2].decode(latents).movedim(-1, 1).cpu())


@pytest.mark.parametrize(("strength", "low", "high"), [(1.0, 0.5, 1.5), (0.0, -0.25, 0.25), (-1.0, -1.5, -0.4)])
def test_the_object_goes_up_and_with_a_negative_strength_down(mini, strength, low, high):
    reading = film(mini, add_lora(mini, strength))
    assert low < read_strength(reading, "up") < high
    assert (reading.most_common("colour"), reading.most_common("shape")) == ("red", "square")
    assert reading.steady


@pytest.mark.parametrize("windowed", (False, True), ids=("whole", "windowed"))
def test_clones_and_the_order_of_nodes_do_not_matter(mini, windowed):
    """In one step; every window sees the LoRA."""
    motion_model, settings = add_lora(mini, 1.0), MotionSettings()

    def divide(model):
        return apply_windows(model, length=4, overlap=1) if windowed else model

    moved = animate(mini[0], motion_model, settings)
    variants = (divide(moved), divide(moved).clone().clone(), animate(divide(mini[0].clone()), motion_model, settings))
    first, *others = (sample(mini, model) for model in variants)
    assert all(torch.equal(first, other) for other in others)
    assert not torch.equal(first, sample(mini, divide(animate(mini[0], mini[3], settings))))


def sample(mini, model, frames: int = 6) -> torch.Tensor:
    prompts = [mini[1].encode_from_tokens_scheduled(mini[1].tokenize(text)) for text in (TEXT, "")]
    noise = torch.randn(frames, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    latent = torch.zeros_like(noise)
    return comfy.sample.sample(model, noise, 1, 4.0, "euler", "normal", *prompts, latent, disable_pbar=True, seed=1)


def test_the_files_are_small():
    assert all(file.stat().st_size < LARGEST for file in UP_LORA.parent.iterdir())
