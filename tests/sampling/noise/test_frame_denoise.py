"""Denoise per frame: with Differential Diffusion, a frame changes as its strength says, in windows and tiles."""

import pytest
import torch
from animatediff_loom.nodes.frame_denoise import FrameDenoise

from tests.support.host import tiny_model
from tests.support.motion_models import apply_motion, apply_windows
from tests.support.sampling import call, host_node, ksampler, noise
from tests.support.texts import expect_error

FRAMES = 7


def masked(curve: str, **latent) -> dict:
    return call(FrameDenoise, latent={"samples": noise(FRAMES, seed=9), **latent}, frame_curve=curve)


def test_the_mask_follows_the_curve():
    mask = masked("0: 0.2, 100%: 0.8")["noise_mask"]
    assert mask.shape == (FRAMES, 1, 8, 8)
    assert torch.allclose(mask[:, 0, 0, 0], torch.linspace(0.2, 0.8, FRAMES))


@pytest.mark.parametrize("shape", [(8, 8), (1, 64, 64), (FRAMES, 1, 64, 64)])
def test_a_mask_that_the_latent_has_is_multiplied(shape):
    mask = masked("0: 0.5", noise_mask=torch.full(shape, 0.5))["noise_mask"]
    assert mask.shape == (FRAMES, 1, *shape[-2:]) and torch.equal(mask, torch.full_like(mask, 0.25))


@pytest.mark.parametrize("tiles", [None, {"tiles": "by size", "tile_size": 64, "tile_overlap": 0}])
def test_a_frame_changes_in_the_last_steps_that_its_strength_gives_it(tiles):
    model = apply_windows(apply_motion(tiny_model()), tiles=tiles)
    model = call(host_node("nodes_differential_diffusion.DifferentialDiffusion"), model=model)
    start = torch.cat([noise(FRAMES, seed=9)] * (1 if tiles is None else 2), dim=-1)
    latent = call(FrameDenoise, latent={"samples": start}, frame_curve="2: 0, 3: 0.3, 4: 1")
    clip = ksampler(model, latent_image=latent, steps=3)
    change = (clip - start).flatten(1).norm(dim=1)
    assert float(change[:3].max()) < 1e-5
    assert 0 < float(change[3]) < float(change[4:].min())


@pytest.mark.parametrize("curve", ["0: 0", "0: 1"])
def test_places_that_a_mask_protects_stay(curve):
    model = call(host_node("nodes_differential_diffusion.DifferentialDiffusion"), model=apply_motion(tiny_model()))
    start, left = noise(FRAMES, seed=9), torch.zeros(1, 8, 8)
    left[..., 4:] = 1
    latent = call(FrameDenoise, latent={"samples": start, "noise_mask": left}, frame_curve=curve)
    change = (ksampler(model, latent_image=latent, steps=2) - start).abs()
    assert float(change[..., :4].max()) < 1e-5
    assert (float(change[..., 4:].max()) < 1e-5) is (curve == "0: 0")


def test_what_is_refused():
    with expect_error("The latent has the shape [1, 4, 5, 8, 8], but Denoise per Frame needs a batch of images"):
        call(FrameDenoise, latent={"samples": torch.zeros(1, 4, 5, 8, 8)}, frame_curve="0: 1")
    with expect_error("`frame_curve` of Denoise per Frame has the value 2, but a strength is 0 to 1"):
        masked("0: 2")
    with expect_error("`frame_curve` of Denoise per Frame is empty"):
        masked("")
    with expect_error("The noise mask of `latent` has 3 frames, but the clip has 7"):
        masked("0: 1", noise_mask=torch.ones(3, 1, 8, 8))
