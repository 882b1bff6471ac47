"""Beta schedules: the anchors of reference B.5, and how they stand on a MODEL of the host."""

import math

import comfy.samplers
import pytest
import torch
from animatediff_loom.motion_modules.beta_schedules import BETA_SCHEDULES
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.sampling.model_sampling import LatentConsistencySampling, set_beta_schedule
from comfy.model_sampling import EPS, V_PREDICTION, ModelSamplingContinuousEDM, ModelSamplingDiscrete
from comfy_extras.nodes_model_advanced import LCM, ModelSamplingDiscreteDistilled
from diffusers import DDIMScheduler, LCMScheduler

from tests.support.host import tiny_model

LINEAR, SCALED, SDXL_BETA, CONSISTENCY, I2V = (
    "AnimateDiff (linear)",
    "Stable Diffusion (scaled_linear)",
    "AnimateDiff-SDXL (scaled_linear to 0.020)",
    "AnimateLCM (linear, LCM)",
    "AnimateLCM-I2V (linear to 0.014, LCM)",
)
DIFFUSERS = {
    LINEAR: ("linear", 0.012),
    SCALED: ("scaled_linear", 0.012),
    SDXL_BETA: ("scaled_linear", 0.020),
    CONSISTENCY: ("linear", 0.012),
    I2V: ("linear", 0.014),
}
ANCHORS = {  # sigma 500, sigma max, last cumulated alpha
    LINEAR: (2.2847, 25.146, 0.001579),
    SCALED: (1.6183, 14.6146, 0.004660),
    SDXL_BETA: (None, 65.929, 2.300e-4),
    CONSISTENCY: (2.2847, 25.146, 0.001579),
    I2V: (None, 41.668, 5.756e-4),
}


class HostConsistency(ModelSamplingDiscreteDistilled, LCM):
    """The host's own latent consistency sampling, with AnimateLCM's number of timesteps instead of its own."""

    original_timesteps = 100


def sampling(name: str, base: str = "SD1.5"):
    return set_beta_schedule(tiny_model(base), BETA_SCHEDULES[name]).get_model_object("model_sampling")


@pytest.fixture(scope="module")
def consistency() -> LatentConsistencySampling:
    return sampling(CONSISTENCY)


@pytest.fixture(scope="module")
def host_consistency() -> HostConsistency:
    host = HostConsistency()
    linear = BETA_SCHEDULES[LINEAR].sigmas()
    host.set_sigmas(linear[9::10].to(torch.float32))
    return host


def test_every_schedule_is_tested():
    assert BETA_SCHEDULES.keys() == ANCHORS.keys() == DIFFUSERS.keys()


@pytest.mark.parametrize("name", ANCHORS)
def test_anchors(name):
    middle, last, alpha = ANCHORS[name]
    sigmas = BETA_SCHEDULES[name].sigmas()
    assert sigmas.dtype == torch.float64 and len(sigmas) == 1000
    assert math.isclose(sigmas[0], 0.029167, abs_tol=1e-6)
    assert math.isclose(sigmas[-1], last, rel_tol=2e-5)
    assert math.isclose(1 / (1 + sigmas[-1] ** 2), alpha, rel_tol=5e-4)
    assert middle is None or math.isclose(sigmas[500], middle, rel_tol=5e-5)


@pytest.mark.parametrize("name", ANCHORS)
def test_equals_diffusers(name):
    schedule, end = DIFFUSERS[name]
    theirs = DDIMScheduler(beta_start=0.00085, beta_end=end, beta_schedule=schedule).alphas_cumprod
    ours = 1 / (1 + BETA_SCHEDULES[name].sigmas() ** 2)
    torch.testing.assert_close(ours.float(), theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", (LINEAR, SCALED, SDXL_BETA))
@pytest.mark.parametrize("base", ("SD1.5", "SDXL"))
def test_on_a_model(name, base):
    placed = sampling(name, base)
    torch.testing.assert_close(placed.sigmas, BETA_SCHEDULES[name].sigmas().float(), rtol=0, atol=0)
    assert math.isclose(placed.sigma_max, ANCHORS[name][1], rel_tol=2e-5)
    assert math.isclose(placed.sigma_min, 0.029167, abs_tol=1e-6)
    assert torch.equal(placed.timestep(placed.sigmas), torch.arange(1000))
    torch.testing.assert_close(placed.sigma(torch.arange(1000)), placed.sigmas, rtol=1e-5, atol=0)
    assert isinstance(placed, ModelSamplingDiscrete) and isinstance(placed, EPS)


def test_stable_diffusions_own_schedule_is_the_hosts():
    host = tiny_model().get_model_object("model_sampling")
    torch.testing.assert_close(sampling(SCALED).sigmas, host.sigmas, rtol=1e-5, atol=0)


def test_the_model_that_was_given_keeps_its_schedule():
    model = tiny_model()
    clone = set_beta_schedule(model, BETA_SCHEDULES[LINEAR])
    assert math.isclose(model.get_model_object("model_sampling").sigma_max, 14.6146, rel_tol=2e-5)
    assert math.isclose(model.model.model_sampling.sigma_max, 14.6146, rel_tol=2e-5)
    assert math.isclose(clone.get_model_object("model_sampling").sigma_max, 25.146, rel_tol=2e-5)


def test_velocity_prediction_is_kept():
    class Velocity(ModelSamplingDiscrete, V_PREDICTION):
        pass

    model = tiny_model()
    model.add_object_patch("model_sampling", Velocity(model.model.model_config))
    placed = set_beta_schedule(model, BETA_SCHEDULES[LINEAR]).get_model_object("model_sampling")
    assert isinstance(placed, V_PREDICTION)
    assert math.isclose(placed.sigma_max, 25.146, rel_tol=2e-5)


def test_the_last_schedule_decides():
    """An AnimateLCM that was applied before leaves no trace of its sampling."""
    distilled = set_beta_schedule(tiny_model(), BETA_SCHEDULES[CONSISTENCY])
    placed = set_beta_schedule(distilled, BETA_SCHEDULES[LINEAR]).get_model_object("model_sampling")
    alone = sampling(LINEAR)
    assert type(placed).__bases__ == type(alone).__bases__
    assert torch.equal(placed.sigmas, alone.sigmas)
    assert isinstance(distilled.get_model_object("model_sampling"), LatentConsistencySampling)


def test_zero_terminal_snr_of_the_model_is_replaced():
    model = tiny_model("SDXL")
    model.model.model_config.sampling_settings = {"zsnr": True}
    placed = set_beta_schedule(model, BETA_SCHEDULES[SDXL_BETA]).get_model_object("model_sampling")
    assert math.isclose(placed.sigma_max, 65.929, rel_tol=2e-5)


def test_a_model_without_betas_is_refused():
    class Continuous(ModelSamplingContinuousEDM, EPS):
        pass

    model = tiny_model()
    model.add_object_patch("model_sampling", Continuous(model.model.model_config))
    with pytest.raises(LoomError, match=r"ModelSamplingContinuousEDM.*Set `beta_schedule` to 'as the model'"):
        set_beta_schedule(model, BETA_SCHEDULES[LINEAR])


def test_consistency_timesteps(consistency):
    ladder = torch.arange(9, 1000, 10)
    assert len(consistency.sigmas) == 100
    torch.testing.assert_close(consistency.sigmas, BETA_SCHEDULES[LINEAR].sigmas()[ladder].float(), rtol=0, atol=0)
    assert torch.equal(consistency.timestep(consistency.sigmas), ladder)
    torch.testing.assert_close(consistency.sigma(ladder), consistency.sigmas, rtol=1e-5, atol=0)
    assert torch.equal(consistency.timestep(consistency.sigma(ladder)), ladder)


def test_consistency_timesteps_are_those_of_diffusers(consistency):
    scheduler = LCMScheduler(beta_schedule="linear", beta_end=0.012)
    scheduler.set_timesteps(4, original_inference_steps=100)
    sigmas = consistency.sigma(scheduler.timesteps)
    torch.testing.assert_close(sigmas, consistency.sigmas[[99, 74, 49, 24]], rtol=1e-5, atol=0)


def test_consistency_equals_the_hosts_own(consistency, host_consistency):
    timesteps = torch.linspace(0, 999, 200)
    torch.testing.assert_close(consistency.sigma(timesteps), host_consistency.sigma(timesteps), rtol=1e-6, atol=0)
    sigmas = torch.linspace(0.03, 25, 300)
    assert torch.equal(consistency.timestep(sigmas), host_consistency.timestep(sigmas))
    for percent in (0.0, 0.2, 0.5, 1.0):
        assert math.isclose(consistency.percent_to_sigma(percent), host_consistency.percent_to_sigma(percent))


def test_consistency_boundary_equals_the_hosts_own(consistency, host_consistency):
    generator = torch.Generator().manual_seed(0)
    output, latent = torch.randn(2, 5, 4, 8, 8, generator=generator)
    for sigma in consistency.sigmas[[0, 30, 99]]:
        ours, theirs = (
            each.calculate_denoised(sigma.expand(5), output, latent) for each in (consistency, host_consistency)
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("timestep", (9, 249, 999))
def test_consistency_boundary(consistency, timestep):
    sigma = consistency.sigma(torch.tensor([timestep]))
    output, latent = torch.full((1, 4, 2, 2), 0.3), torch.full((1, 4, 2, 2), 2.0)
    scaled = 10.0 * timestep
    c_skip, c_out = 0.25 / (scaled**2 + 0.25), scaled / math.sqrt(scaled**2 + 0.25)
    expected = c_out * (2.0 - 0.3 * float(sigma)) + c_skip * 2.0
    denoised = consistency.calculate_denoised(sigma, output, latent)
    torch.testing.assert_close(denoised, torch.full_like(denoised, expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
@pytest.mark.parametrize("name", BETA_SCHEDULES)
def test_every_scheduler_of_the_host(name, scheduler):
    placed = sampling(name)
    sigmas = comfy.samplers.calculate_sigmas(placed, scheduler, 6)
    assert sigmas.isfinite().all() and sigmas[-1] == 0
    assert (sigmas[1:] < sigmas[:-1]).all()
    assert 0.3 * placed.sigma_max < sigmas[0] <= placed.sigma_max * (1 + 1e-5)
