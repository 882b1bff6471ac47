"""Signature of a training run: the same for the same run, another for another model, LoRA, clip or setting."""

from dataclasses import replace

import pytest
import torch
from animatediff_loom.motion_modules.files.motion_lora import add_motion_lora, parse_motion_lora
from animatediff_loom.training.clips import TrainingClip, TrainingClips
from animatediff_loom.training.signature import sign_run
from animatediff_loom.training.train import LoraSettings, TrainingTask
from comfy.model_management import load_models_gpu

from tests.support.host import tiny_model
from tests.support.motion_loras import linear_layers, random_factors, spell
from tests.support.motion_models import load_motion
from tests.support.sampling import noise, prompt

WEIGHT = "diffusion_model.time_embed.0.weight"


def make_task(latents=None, conditioning=None) -> TrainingTask:
    clip = TrainingClip("clip", noise(3) if latents is None else latents, "a prompt", conditioning or prompt(2))
    return TrainingTask(TrainingClips((clip,), prompt(9)))


def patch(model, strength: float, seed: int = 0):
    """Return a clone with a LoRA, as the host's Load LoRA makes it."""
    clone = model.clone()
    shape = model.model.state_dict()[WEIGHT].shape
    change = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    assert clone.add_patches({WEIGHT: ("diff", (change,))}, strength)
    return clone


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def motion():
    return load_motion()


def test_the_same_run_has_the_same_signature_also_while_its_models_are_loaded_with_patches(model, motion):
    patched = patch(model, 0.5)
    before = sign_run(patched, motion, make_task(), LoraSettings(rank=2))
    load_models_gpu([patched])
    assert sign_run(patched, motion, make_task(), LoraSettings(rank=2)) == before
    assert sign_run(tiny_model(), load_motion(), make_task()) == sign_run(model, motion, make_task())


def test_another_model_lora_clip_or_setting_gives_another_signature(model, motion):
    other, task = tiny_model(), make_task()
    other.model.state_dict()[WEIGHT].mul_(1.01)
    lora = parse_motion_lora("lora", spell(random_factors(linear_layers(motion.patcher.model.state_dict()))))
    flat = replace(task.clips.clips[0], latents=noise(3).reshape(3, 4, 4, -1))
    runs = [
        (model, motion, task),
        (other, motion, task),
        (patch(model, 0.5), motion, task),
        (patch(model, 0.6), motion, task),
        (patch(model, 0.5, seed=1), motion, task),
        (model, load_motion(scale=0.5), task),
        (model, add_motion_lora(motion, lora, 1.0), task),
        (model, add_motion_lora(motion, lora, 0.9), task),
        (model, motion, make_task(conditioning=prompt(3))),
        (model, motion, replace(task, clips=TrainingClips((flat,), prompt(9)))),
        (model, motion, task, LoraSettings(rank=3)),
    ]
    assert len({sign_run(*run) for run in runs}) == len(runs)
