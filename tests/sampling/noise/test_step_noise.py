"""Step noise by the rule of the initial noise, in the host's own ancestral, SDE and LCM samplers."""

import importlib
import itertools

import pytest
import torch
from animatediff_loom.nodes.video_noise import INDEPENDENT, LIKE_INITIAL, VideoNoise
from animatediff_loom.sampling.noise.initial import NOISES, NoiseSettings, draw_step_noise
from animatediff_loom.sampling.noise.step_noise import NOISE_SAMPLER, StepNoise, with_step_noise
from comfy.samplers import KSAMPLER_NAMES, ksampler

from tests.support.host import tiny_model
from tests.support.sampling import call, noise, prompt, sample, sampler_custom_advanced

CPU = torch.device("cpu")
STOCHASTIC = ["euler_ancestral", "dpmpp_sde", "dpmpp_3m_sde_gpu", "lcm", "sa_solver"]


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def noisy(model, kind: str = "same", step_noise: str = LIKE_INITIAL, **inputs):
    fresh = inputs.pop("fresh_noise", 0.0)
    return call(
        VideoNoise, model=model, noise_type={"noise_type": kind, **inputs}, step_noise=step_noise, fresh_noise=fresh
    )


@pytest.mark.parametrize("name", STOCHASTIC)
def test_frames_without_motion_stay_equal(model, name):
    """With one noise for all frames in every step, a model without motion makes a still."""
    clip = sample(noisy(model), 2, steps=3, sampler=name, scheduler="karras", cfg=1.0)
    assert torch.allclose(clip[0], clip[1], atol=1e-4)


def test_step_noise_is_independent_by_default(model):
    clip = sample(call(VideoNoise, model=model, noise_type={"noise_type": "same"}), 2, sampler="lcm", cfg=1.0)
    assert not torch.allclose(clip[0], clip[1], atol=1e-2)


def test_only_samplers_with_step_noise_change(model):
    assert torch.equal(sample(noisy(model), 2), sample(noisy(model, step_noise=INDEPENDENT), 2))


def test_every_sampler_that_can_be_told_is():
    """A sampler of the host without `noise_sampler` is one that adds no noise."""
    untold = set()
    for name in KSAMPLER_NAMES:
        sampler = ksampler(name)
        told = with_step_noise(sampler, itertools.repeat(noise(2)), CPU)
        assert NOISE_SAMPLER not in sampler.extra_options
        if NOISE_SAMPLER not in getattr(told, "extra_options", {}):
            untold.add(name)
    assert not any(word in name for name in untold for word in ("ancestral", "sde", "lcm", "ddpm", "seeds", "sa_"))


def test_a_noise_sampler_of_another_node_stays():
    sampler = ksampler("lcm", {NOISE_SAMPLER: "theirs", "s_noise": 0.9})
    assert with_step_noise(sampler, itertools.repeat(noise(2)), CPU).extra_options == sampler.extra_options


def test_custom_sampler_follows_too(model):
    custom = importlib.import_module("comfy_extras.nodes_custom_sampler")
    clip = sampler_custom_advanced(call(custom.BasicGuider, model=noisy(model), conditioning=prompt(2)), sampler="lcm")
    assert torch.allclose(clip, clip[:1].expand_as(clip), atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in NOISES if kind != "video"])
def test_step_noise_is_of_the_kind_and_new_in_every_step(kind):
    settings = NoiseSettings(kind, length=2, overlap=1)
    steps = list(itertools.islice(draw_step_noise((5, 4, 8, 8), settings, seed=3), 3))
    ties = {"same": [(0, 4)], "repeated": [(0, 2), (1, 3)], "camera": [(0, 4)]}.get(kind, [])
    for step in steps:
        assert all(torch.equal(step[one], step[other]) for one, other in ties)
    assert not torch.isclose(steps[0], steps[1]).any(dim=0).all()
    assert not torch.equal(steps[1], steps[2])


def test_two_intervals_from_one_level_are_one_motion():
    """Increments of W over 1 and 4, in either order: their correlation is sqrt(1/4)."""
    for lengths in ((1.0, 4.0), (4.0, 1.0)):
        draws = (torch.randn(100_000, generator=torch.Generator().manual_seed(seed)) for seed in itertools.count())
        step_noise = StepNoise(draws, CPU)
        one, other = (step_noise(5.0, 5.0 - length) for length in lengths)
        assert float(other.var()) == pytest.approx(1, abs=0.02)
        assert float((one * other).mean()) == pytest.approx(0.5, abs=0.02)
        later, again = step_noise(1.0, 0.5), step_noise(1.0, 0.5)
        assert abs(float((other * later).mean())) < 0.02
        assert abs(float((later * again).mean())) < 0.02
