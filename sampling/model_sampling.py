"""Beta schedules put on a MODEL, as the host's `model_sampling`."""

import torch
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import EPS, ModelSamplingDiscrete, reshape_sigma

from ..motion_modules.beta_schedules import TIMESTEPS, BetaSchedule
from ..motion_modules.errors import LoomError


class DistilledTimesteps(ModelSamplingDiscrete):
    """Every `stride`-th noise level of the full schedule: those that a consistency model was distilled on."""

    stride = 1

    def timestep(self, sigma):
        return super().timestep(sigma) * self.stride + self.stride - 1

    def sigma(self, timestep):
        return super().sigma((timestep - self.stride + 1) / self.stride)


class LatentConsistencySampling(DistilledTimesteps, EPS):
    """x0 from a consistency model's noise prediction, with its boundary condition (Luo et al. 2023, appendix C)."""

    sigma_data_boundary = 0.5
    timestep_scaling = 10.0

    def calculate_denoised(self, sigma, model_output, model_input):
        denoised = super().calculate_denoised(sigma, model_output, model_input)
        scaled = reshape_sigma(self.timestep(sigma) * self.timestep_scaling, model_output.ndim)
        variance = scaled**2 + self.sigma_data_boundary**2
        return denoised * scaled / variance**0.5 + model_input * self.sigma_data_boundary**2 / variance


def set_beta_schedule(model: ModelPatcher, schedule: BetaSchedule) -> ModelPatcher:
    """Return a clone of `model` that is sampled with `schedule`; it still predicts what it did (noise or velocity)."""
    clone = model.clone()
    current = _base_sampling(clone)
    if not isinstance(current, ModelSamplingDiscrete):
        raise LoomError(
            f"`model` is sampled with {type(current).__mro__[1].__name__}, which has no beta schedule. "
            "Set `beta_schedule` to 'as the model'."
        )
    clone.add_object_patch("model_sampling", _create_sampling(model.model.model_config, current, schedule))
    return clone


def _base_sampling(clone: ModelPatcher):
    """Return the sampling of `clone`, without the consistency sampling of an AnimateLCM that was applied before."""
    if isinstance(clone.get_model_object("model_sampling"), LatentConsistencySampling):
        clone.object_patches.pop("model_sampling", None)
    return clone.get_model_object("model_sampling")


def _create_sampling(config, current: ModelSamplingDiscrete, schedule: BetaSchedule) -> ModelSamplingDiscrete:
    sampling = (LatentConsistencySampling if schedule.lcm_timesteps else type(current))(config, zsnr=False)
    stride = TIMESTEPS // schedule.lcm_timesteps if schedule.lcm_timesteps else _stride(current)
    if isinstance(sampling, DistilledTimesteps):
        sampling.stride = stride
    sampling.set_sigmas(schedule.sigmas()[stride - 1 :: stride].to(torch.float32))
    return sampling


def _stride(current: ModelSamplingDiscrete) -> int:
    """Return the timesteps between two noise levels; for LCM, the host's ModelSamplingDiscrete sets `skip_steps`."""
    return current.stride if isinstance(current, DistilledTimesteps) else getattr(current, "skip_steps", 1)
