"""PIA in a tiny UNet: parity with diffusers, and what the frames of a clip see of their picture."""

from dataclasses import replace

import pytest
import torch
from animatediff_loom.motion_modules.adapters.conditions import put_condition
from animatediff_loom.motion_modules.adapters.pia import PIA as KEY
from animatediff_loom.motion_modules.adapters.pia import PiaCondition
from animatediff_loom.motion_modules.adapters.registry import ADAPTERS
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.sampling.animate import AS_THE_MODEL, animate
from comfy.cli_args import args

from tests.support.host import copy_weights, same_weights, tiny_model
from tests.support.motion_files import PIA, pia_file
from tests.support.motion_models import apply_windows
from tests.support.reference_unet import evaluate_reference, reference_unet
from tests.support.sampling import (
    LATENT_SIZE,
    distance,
    evaluate_once,
    ksampler,
    load_lora,
    noise,
    prompt,
    record_unet,
    sample,
)
from tests.support.texts import expect_error

FRAMES, TIMESTEP = 5, 501


def condition(frames: int = FRAMES, pictures: int = 2, seed: int = 5) -> PiaCondition:
    """Another affinity for every frame, and the first picture for the first half of the clip."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(pictures, 4, LATENT_SIZE, LATENT_SIZE, generator=generator)
    affinities = tuple(1 - 0.9 * frame / frames for frame in range(frames))
    return PiaCondition(latents, tuple(frame * pictures // frames for frame in range(frames)), affinities)


def pia_model(plain, conditioning: PiaCondition | None, **settings):
    motion_model = motion_model_from_tensors(pia_file(), "pia.ckpt")
    model = animate(plain, motion_model, MotionSettings(**settings), AS_THE_MODEL)
    if conditioning is not None:
        put_condition(model, KEY, conditioning)
    return model


def concat(conditioning: PiaCondition, chunks: int = 2) -> torch.Tensor:
    """The mask and the picture of every frame, as the reference concatenates them for cond and uncond."""
    masks = torch.tensor(conditioning.affinities).view(-1, 1, 1, 1).expand(-1, 1, LATENT_SIZE, LATENT_SIZE)
    pictures = torch.stack([conditioning.latents[number] for number in conditioning.pictures])
    return torch.cat((masks, pictures), dim=1).repeat(chunks, 1, 1, 1)


def outputs(dtype: torch.dtype):
    plain, conditioning = tiny_model(dtype=dtype), condition()
    call = evaluate_once(pia_model(plain, conditioning), FRAMES, TIMESTEP)
    reference = reference_unet(plain, PIA, pia_file(), FRAMES)
    other = concat(condition(seed=6)).to(dtype)
    results = (evaluate_reference(reference, call, FRAMES, each) for each in (concat(conditioning).to(dtype), other))
    return call["output"], *results


def test_float32():
    ours, reference, with_other_picture = outputs(torch.float32)
    assert (ours - reference).abs().max() <= 1e-5
    assert (with_other_picture - reference).norm() / reference.norm() > 0.1


def test_float64(monkeypatch):
    monkeypatch.setattr(args, "fp64_unet", True)
    ours, reference, _ = outputs(torch.float64)
    assert ours.dtype == torch.float64
    assert (ours - reference).abs().max() <= 1e-12


def test_the_shared_model_stays_as_it_was_and_clones_do_not_see_each_other():
    plain = tiny_model()
    before, still = copy_weights(plain), sample(plain, FRAMES, steps=1)
    first, second = (pia_model(plain, condition(seed=seed)) for seed in (5, 6))
    alone, other, again = (sample(model, FRAMES, steps=1) for model in (first, second, first))
    assert torch.equal(again, alone) and not torch.equal(other, alone)
    assert same_weights(plain, before) and torch.equal(sample(plain, FRAMES, steps=1), still)


def test_a_lora_on_the_base_keeps_its_effect():
    plain = tiny_model()
    models = [load_lora(pia_model(plain, condition())), pia_model(load_lora(plain), condition())]
    before, after, without = (sample(model, FRAMES, steps=1) for model in (*models, pia_model(plain, condition())))
    assert torch.equal(before, after) and not torch.equal(before, without)


def test_strength_0_is_bit_identical_to_no_motion_model():
    plain = tiny_model()
    assert torch.equal(sample(pia_model(plain, None, strength=0.0), FRAMES, steps=1), sample(plain, FRAMES, steps=1))


@pytest.mark.parametrize("windows_at_once", (1, 4))
def test_in_windows_a_frame_sees_its_own_picture(windows_at_once):
    """Both windows of a clip equal clips of their frames alone, whose conditions are cut by hand."""
    frames, length = 8, 4
    plain, conditioning = tiny_model(), condition(frames=8)
    windowed = apply_windows(pia_model(plain, conditioning), "batched", length, 1, windows_at_once=windows_at_once)
    ours = sample(windowed, frames, steps=1)
    for start in (0, length):
        part = slice(start, start + length)
        alone = PiaCondition(conditioning.latents, conditioning.pictures[part], conditioning.affinities[part])
        theirs = sample(pia_model(plain, alone), length, steps=1, noise=noise(frames)[part])
        assert distance(ours[part], theirs) < 1e-5


def test_outside_of_its_range_a_motion_model_leaves_its_picture_alone():
    plain = tiny_model()
    (moving, ours), (still, theirs) = record_unet(pia_model(plain, condition(), start_percent=0.5)), record_unet(plain)
    for model in (moving, still):
        sample(model, FRAMES)
    first, last = (torch.equal(ours.calls[n]["output"], theirs.calls[n]["output"]) for n in (0, -1))
    assert first and not last


def test_without_a_picture_the_run_is_refused_by_the_name_of_the_node():
    with expect_error(
        "'pia.ckpt' (PIA) needs a reference picture", "Place Image To Video between Apply Motion Model and the"
    ):
        sample(pia_model(tiny_model(), None), FRAMES)


@pytest.mark.parametrize("area", [(8, 4, 0, 0), ("percentage", 1.0, 0.5, 0.0, 0.0)])
def test_a_prompt_with_an_area_is_refused_before_sampling(area):
    model, seen = record_unet(pia_model(tiny_model(), condition()))
    (text, options), *_ = prompt(2)
    with expect_error("The positive prompt has an area, but the input of PIA covers the whole picture"):
        ksampler(model, FRAMES, steps=1, positive=[[text, {**options, "area": area}]])
    assert not seen.calls


def test_an_area_of_the_whole_picture_is_allowed():
    (text, options), *_ = prompt(2)
    whole = [[text, {**options, "area": (LATENT_SIZE, LATENT_SIZE, 0, 0)}]]
    assert ksampler(pia_model(tiny_model(), condition()), FRAMES, steps=1, positive=whole).isfinite().all()


@pytest.mark.parametrize(
    ("conditioning", "fault"),
    (
        (condition(frames=6), "The latent has 5 frames, but the pictures of PIA are for a clip of 6"),
        (PiaCondition(torch.zeros(1, 4, 4, 8), (0,) * 5, (1.0,) * 5), "The latent is 8 x 8, but the pictures of PIA"),
    ),
)
def test_a_condition_of_another_clip_is_refused(conditioning, fault):
    with expect_error(fault, "Image To Video"):
        sample(pia_model(tiny_model(), conditioning), FRAMES)


def test_an_inpainting_checkpoint_is_refused():
    with expect_error("`model` is a UNet for 9 input channels", "inpainting checkpoint", "Load a checkpoint for SD1.5"):
        pia_model(tiny_model(in_channels=9), condition())


def test_the_picture_is_cut_to_each_tile():
    """Without overlap, a picture of two tiles is two pictures."""
    plain, wide = tiny_model(), condition()
    wide = replace(wide, latents=torch.cat((wide.latents, condition(seed=6).latents), dim=-1))
    start = torch.cat((noise(FRAMES), noise(FRAMES, seed=2)), dim=-1)
    tiles = {"tiles": "by size", "tile_size": 8 * LATENT_SIZE, "tile_overlap": 0}
    clip = sample(apply_windows(pia_model(plain, wide), length=FRAMES, tiles=tiles), noise=start, steps=1)
    halves = [
        sample(pia_model(plain, condition(seed=seed)), noise=part, steps=1)
        for seed, part in zip((5, 6), start.split(LATENT_SIZE, dim=-1), strict=True)
    ]
    assert distance(clip, torch.cat(halves, dim=-1)) < 2e-5


def test_an_adapter_that_does_not_cut_its_input_refuses_tiles(monkeypatch):
    monkeypatch.setitem(vars(ADAPTERS[KEY]), "fits_tiles", False)
    tiles = {"tiles": "by size", "tile_size": 64, "tile_overlap": 0}
    model, seen = record_unet(apply_windows(pia_model(tiny_model(), condition()), length=FRAMES, tiles=tiles))
    wide = torch.cat((noise(FRAMES), noise(FRAMES)), dim=-1)
    put_condition(model, KEY, replace(condition(), latents=condition().latents.repeat(1, 1, 1, 2)))
    with expect_error("The input of PIA cannot be cut into tiles. Choose another motion model"):
        sample(model, noise=wide)
    assert not seen.calls
