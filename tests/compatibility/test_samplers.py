"""Every sampler and scheduler of the host's KSampler node with an animated model."""

import pytest
import torch
from animatediff_loom.motion_modules.beta_schedules import BETA_SCHEDULES
from comfy.sample import prepare_noise
from comfy.samplers import KSampler
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from torch.testing import assert_close

from tests.support.motion_models import apply_motion, load_motion
from tests.support.sampling import FRAMES, SEED, ksampler, ksampler_advanced, sample

SCHEDULERS = ["normal", "karras", "sgm_uniform", "simple", "ddim_uniform", "beta"]


@pytest.mark.parametrize("sampler", KSampler.SAMPLERS)
def test_every_sampler_of_the_host_animates(model, moving, still, sampler):
    inputs = {"sampler_name": sampler, "frames": 3, "denoise": 0.1 if sampler == "dpm_adaptive" else 1.0}
    plain, clip, identity = (ksampler(m, **inputs) for m in (model, moving, still))
    assert clip.isfinite().all()
    assert not torch.allclose(clip, plain, atol=1e-3)
    assert torch.equal(identity, plain)


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2s_ancestral", "dpmpp_sde", "uni_pc"])
def test_the_same_seed_makes_the_same_clip(moving, sampler):
    assert torch.equal(ksampler(moving, sampler_name=sampler), ksampler(moving, sampler_name=sampler))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_schedulers(model, moving, still, scheduler):
    assert scheduler in KSampler.SCHEDULERS
    plain = ksampler(model, scheduler=scheduler)
    assert torch.equal(ksampler(still, scheduler=scheduler), plain)
    assert not torch.allclose(ksampler(moving, scheduler=scheduler), plain, atol=1e-3)


@pytest.mark.parametrize("schedule", BETA_SCHEDULES)
@pytest.mark.parametrize("sampler", ["heun", "lcm"])
def test_beta_schedules_with_multi_evaluation_and_consistency_samplers(model, still_motion, schedule, sampler):
    clip = ksampler(apply_motion(model, load_motion(), schedule), sampler_name=sampler)
    without_motion = ksampler(apply_motion(model, still_motion, schedule), sampler_name=sampler)
    assert clip.isfinite().all()
    assert not torch.allclose(clip, without_motion, atol=1e-3)


def test_the_lcm_sampler_steps_through_the_timesteps_of_animatelcm(model):
    clip, sampling = (
        _lcm_clip(model),
        apply_motion(model, load_motion(None, mid=True), "auto").get_model_object("model_sampling"),
    )
    assert len(sampling.sigmas) == 100
    assert sampling.timestep(sampling.sigmas).tolist() == list(range(9, 1000, 10))
    assert clip.isfinite().all()


def test_lcm_set_by_the_hosts_node_keeps_its_timesteps_under_another_beta_schedule(model):
    (lcm,) = ModelSamplingDiscrete().patch(model, "lcm", False)
    before = lcm.get_model_object("model_sampling")
    after = apply_motion(lcm, load_motion(), "auto").get_model_object("model_sampling")
    assert type(after) is type(before)
    assert_close(after.timestep(after.sigmas), before.timestep(before.sigmas))
    assert not torch.allclose(after.sigmas, before.sigmas)
    assert (
        ksampler(apply_motion(lcm, load_motion(), "auto"), sampler_name="lcm", scheduler="sgm_uniform", cfg=1.5)
        .isfinite()
        .all()
    )


def test_two_stages_make_what_one_makes(moving):
    whole = ksampler_advanced(moving, steps=4)
    first = ksampler_advanced(moving, steps=4, end_at_step=2, return_with_leftover_noise="enable")
    second = ksampler_advanced(moving, steps=4, add_noise="disable", start_at_step=2, latent_image=first)
    assert not torch.allclose(first["samples"], whole["samples"], atol=1e-2)
    assert_close(second["samples"], whole["samples"], atol=1e-4, rtol=1e-4)


def test_the_ksampler_node_makes_what_the_function_under_it_makes(moving):
    latents = torch.zeros(FRAMES, 4, 8, 8)
    assert torch.equal(ksampler(moving), sample(moving, FRAMES, noise=prepare_noise(latents, SEED)))


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_motion_in_a_part_of_the_schedule(model, moving, sampler):
    early = apply_motion(model, end_percent=0.5)
    late = apply_motion(model, start_percent=0.5)
    clips = [ksampler(m, sampler_name=sampler, steps=4) for m in (model, moving, early, late)]
    for i, clip in enumerate(clips):
        assert clip.isfinite().all()
        assert not any(torch.allclose(clip, other, atol=1e-4) for other in clips[i + 1 :])


def _lcm_clip(model) -> torch.Tensor:
    animate_lcm = apply_motion(model, load_motion(None, mid=True), "auto")
    return ksampler(animate_lcm, sampler_name="lcm", scheduler="sgm_uniform", cfg=1.5, steps=4)
