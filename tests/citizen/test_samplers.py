"""Every sampler and scheduler of the host's KSampler node with an animated model."""

import nodes
import pytest
import torch
from animatediff_loom.sampling.beta_schedules import BETA_SCHEDULES
from citizen import animated, ksampler, ksampler_advanced, motion
from clips import sample
from comfy.samplers import KSampler
from torch.testing import assert_close

SCHEDULERS = ["normal", "karras", "sgm_uniform", "simple", "ddim_uniform", "beta"]


@pytest.mark.parametrize("sampler", KSampler.SAMPLERS)
def test_every_sampler_of_the_host_animates(model, moving, still, sampler):
    plain, clip = (ksampler(m, sampler_name=sampler, steps=3, frames=3) for m in (model, moving))
    assert clip.isfinite().all()
    assert not torch.allclose(clip, plain, atol=1e-3)
    assert torch.equal(ksampler(still, sampler_name=sampler, steps=3, frames=3), plain)


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2s_ancestral", "dpmpp_sde", "uni_pc"])
def test_the_same_seed_makes_the_same_clip(moving, sampler):
    assert torch.equal(ksampler(moving, sampler_name=sampler), ksampler(moving, sampler_name=sampler))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_schedulers(model, moving, still, scheduler):
    assert scheduler in KSampler.SCHEDULERS
    plain = ksampler(model, scheduler=scheduler)
    assert torch.equal(ksampler(still, scheduler=scheduler), plain)
    assert not torch.allclose(ksampler(moving, scheduler=scheduler), plain, atol=1e-3)


@pytest.mark.parametrize("schedule", BETA_SCHEDULES)
@pytest.mark.parametrize("sampler", ["euler", "heun", "lcm"])
def test_beta_schedules_hold_with_single_and_multi_evaluation_samplers(model, still_motion, moving, schedule, sampler):
    clip = ksampler(animated(model, motion(), schedule), sampler_name=sampler)
    without_motion = ksampler(animated(model, still_motion, schedule), sampler_name=sampler)
    assert clip.isfinite().all()
    assert not torch.allclose(clip, without_motion, atol=1e-3)


def test_the_lcm_sampler_steps_through_the_timesteps_of_animatelcm(model):
    clip, sampling = _lcm_clip(model), animated(model, motion(None, mid=True), "auto").get_model_object("model_sampling")
    assert len(sampling.sigmas) == 100
    assert sampling.timestep(sampling.sigmas).tolist() == list(range(9, 1000, 10))
    assert clip.isfinite().all()


def test_lcm_set_by_the_hosts_node_keeps_its_timesteps_under_another_beta_schedule(model):
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    (lcm,) = ModelSamplingDiscrete().patch(model, "lcm", False)
    before = lcm.get_model_object("model_sampling")
    after = animated(lcm, motion(), "auto").get_model_object("model_sampling")
    assert type(after) is type(before)
    assert_close(after.timestep(after.sigmas), before.timestep(before.sigmas))
    assert not torch.allclose(after.sigmas, before.sigmas)
    assert ksampler(animated(lcm, motion(), "auto"), sampler_name="lcm", scheduler="sgm_uniform", cfg=1.5).isfinite().all()


def test_two_stages_make_what_one_makes(moving):
    whole = ksampler_advanced(moving, steps=4)
    first = ksampler_advanced(moving, steps=4, end_at_step=2, return_with_leftover_noise="enable")
    second = ksampler_advanced(moving, steps=4, add_noise="disable", start_at_step=2, latent_image=first)
    assert not torch.allclose(first["samples"], whole["samples"], atol=1e-2)
    assert_close(second["samples"], whole["samples"], atol=1e-4, rtol=1e-4)


def test_the_node_and_the_function_under_it_agree(moving):
    latent = {"samples": torch.zeros(4, 4, 8, 8)}
    inputs = {"seed": 1, "steps": 2, "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal"}
    from clips import noise, prompt

    (common,) = nodes.common_ksampler(moving, positive=prompt(2), negative=prompt(3), latent=latent, **inputs)
    from comfy.sample import prepare_noise

    assert noise(4).shape == prepare_noise(latent["samples"], 1).shape
    assert torch.equal(common["samples"], sample(moving, 4, noise=prepare_noise(latent["samples"], 1)))


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_2", "dpmpp_2s_ancestral"])
def test_motion_in_a_part_of_the_schedule(model, moving, sampler):
    early = animated(model, end_percent=0.5)
    late = animated(model, start_percent=0.5)
    clips = [ksampler(m, sampler_name=sampler, steps=4) for m in (model, moving, early, late)]
    for i, clip in enumerate(clips):
        assert clip.isfinite().all()
        assert not any(torch.allclose(clip, other, atol=1e-4) for other in clips[i + 1 :])


def _lcm_clip(model) -> torch.Tensor:
    animate_lcm = animated(model, motion(None, mid=True), "auto")
    return ksampler(animate_lcm, sampler_name="lcm", scheduler="sgm_uniform", cfg=1.5, steps=4)
