"""Every registered architecture can be trained on Loom Mini's image model, and comes out as a motion model file.

That of low-rank attention is shipped: a motion module of another kind, trained from fresh, moves
objects as told.
"""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from animatediff_loom.motion_modules.architectures.registry import ARCHITECTURES
from animatediff_loom.motion_modules.files.loading import load_motion_model
from animatediff_loom.nodes.load_loom_mini import LoadLoomMini
from host.loom_mini import FOLDER
from loom_mini.captions import plain_caption
from loom_mini.diffusion import MOTION_SCHEDULE, Schedule
from loom_mini.export_stage import train as export
from loom_mini.image_stage import ImageModel, load_image_model
from loom_mini.measures import ClipReading, read_clip
from loom_mini.motion_stage import PLAN, VideoModel, build_motion_modules, checkpoint_file, clip_noise_error
from loom_mini.scores import score_clips
from loom_mini.trainer import Plan, Trainer, initialise, load_averages
from loom_mini.world import DIRECTIONS, Combination, combinations

from tests.support.motion_models import mini_latents

FRAMES, WIDTH = 4, 64
OTHERS = tuple(key for key in ARCHITECTURES if key != PLAN.architecture)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an image model of random weights."""
    folder = tmp_path_factory.mktemp("training")
    torch.manual_seed(0)
    image = ImageModel()
    initialise(image)
    averages = {name: value.detach() for name, value in image.named_parameters() if value.requires_grad}
    torch.save({"averages": averages}, folder / "image.pt")
    return folder


def trained(folder: Path, plan: Plan):
    """The model after some steps on one clip, whose error is returned for the first and the last step."""
    torch.manual_seed(1)
    image = load_image_model(load_averages(folder / "image.pt"))
    model = VideoModel(image, build_motion_modules(image.unet, plan), FRAMES)
    schedule, errors = Schedule(MOTION_SCHEDULE), []
    clean, context = torch.randn(1, FRAMES, 4, 8, 8), torch.randn(1, 77, WIDTH)
    trainer = Trainer(model.motion, plan, checkpoint_file(folder, plan))

    def loss(generator: random.Random) -> torch.Tensor:
        torch.manual_seed(2)
        error = clip_noise_error(model, schedule, clean, context)
        errors.append(error.item())
        return error

    trainer.train(loss, lambda averages: "")
    return model, errors[0], errors[-1]


@pytest.mark.parametrize("key", ARCHITECTURES)
def test_it_learns_and_the_image_model_does_not(key: str, folder: Path):
    plan = replace(PLAN, steps=6, batch=1, warm_up=1, average=0.0, architecture=key)
    image_before = load_averages(folder / "image.pt")
    model, first, last = trained(folder, plan)
    assert last < 0.98 * first
    image = dict(model.image.named_parameters())
    assert all(torch.equal(image[name], value) for name, value in image_before.items())
    assert not any(parameter.grad is None for parameter in model.motion.parameters())


@pytest.mark.parametrize("key", OTHERS)
def test_it_is_exported_as_a_motion_model(key: str, folder: Path):
    plan = replace(PLAN, steps=1, batch=1, architecture=key, seed=3)
    if not checkpoint_file(folder, plan).exists():
        trained(folder, plan)
    export(folder, plan)
    motion_model = load_motion_model(str(folder / f"loom_mini_{key}.safetensors"))
    assert {spec.architecture.key for spec in motion_model.specs.values()} == {key}
    assert (motion_model.family.base, motion_model.family.trained_frames) == ("SD1.5", 16)
    loaded, kept = motion_model.patcher.model.state_dict(), load_averages(checkpoint_file(folder, plan))
    assert all(torch.equal(loaded[name], value.half().float()) for name, value in kept.items())


@torch.no_grad()
def filmed(mini, motion_model, asked: Combination) -> ClipReading:
    latents = mini_latents(mini, motion_model, plain_caption(*asked), frames=16, steps=12, seed=1)
    return read_clip(mini[2].decode(latents).movedim(-1, 1))


def test_what_is_shipped_moves_objects_as_told():
    """Prompts that were never trained, two for each direction; one in four would be right by chance."""
    motion_model = load_motion_model(str(FOLDER / "loom_mini_low_rank_attention.safetensors"))
    assert {spec.architecture.key for spec in motion_model.specs.values()} == {"low_rank_attention"}
    held_out = combinations(held_out=True)
    asked = [each for way in DIRECTIONS for each in [each for each in held_out if each[2] == way][:2]]
    mini = LoadLoomMini.execute().result
    told = score_clips([filmed(mini, motion_model, each) for each in asked], asked)
    assert sum(told["motion"]) >= 7
    assert sum(told["colour"]) >= 7
