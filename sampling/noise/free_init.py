"""FreeInit: sample a clip several times, each time from noise that keeps the slow part of the clip before it.

Wu et al. 2023, "FreeInit", and its variance-preserving form, Yuan et al. 2025, "FreqPrior". Latents
and noise are `[frames, channels, height, width]`. A latent at noise level sigma is the clean one
plus sigma times noise, as in k-diffusion.
"""

import math
from dataclasses import dataclass, field

import torch

from .frequency_filters import FilterSettings, low_pass, mix_bands, mix_powers


@dataclass(frozen=True)
class FreeInitSettings:
    """Number of times that a clip is sampled, and the filter in between.

    `early_stop` is the part of the steps that all iterations but the last one take. With
    `coarse_to_fine`, the steps of early iterations are fewer and larger.
    """

    iterations: int = 3
    filter: FilterSettings = field(default_factory=FilterSettings)
    variance_preserving: bool = True
    coarse_to_fine: bool = False
    early_stop: float = 0.68


def plan_iterations(settings: FreeInitSettings, sigmas: torch.Tensor) -> list[torch.Tensor]:
    """Return the noise levels of each iteration, from `sigmas`, those of the sampler."""
    schedules = [sigmas] * settings.iterations
    if settings.coarse_to_fine:
        steps = (len(sigmas) - 1) / settings.iterations
        schedules = [choose_levels(sigmas, int(steps * number)) for number in range(1, settings.iterations + 1)]
    return [*(stop_early(schedule, settings.early_stop) for schedule in schedules[:-1]), schedules[-1]]


def choose_levels(sigmas: torch.Tensor, steps: int) -> torch.Tensor:
    """Return `steps` + 1 of the noise levels, the first and the last one among them; at least one step."""
    steps = max(1, steps)
    return sigmas[[round(number * (len(sigmas) - 1) / steps) for number in range(steps + 1)]]


def stop_early(sigmas: torch.Tensor, part: float) -> torch.Tensor:
    """Return the noise levels of the first `part` of the steps; at least one step."""
    return sigmas[: max(1, math.floor(part * (len(sigmas) - 1) + 0.5)) + 1]


def add_noise_again(
    change: torch.Tensor, noise: torch.Tensor, sigmas: torch.Tensor, noise_scale: float
) -> torch.Tensor:
    """Return the noise from which a sampler would begin where `change` with more `noise` on it is.

    `change` is the result at the last of `sigmas` minus the latent that the sampler began with. At
    the first of `sigmas`, the sampler begins with that latent plus `noise_scale` times noise.
    """
    added = math.sqrt(max(0.0, float(sigmas[0]) ** 2 - float(sigmas[-1]) ** 2))
    return (change + added * noise) / noise_scale


def mix_noise(
    settings: FreeInitSettings, noised: torch.Tensor, fresh: torch.Tensor, fresh_detail: torch.Tensor
) -> torch.Tensor:
    """Return the noise of the next iteration: low frequencies of the `noised` clip, the others of `fresh_detail`.

    The variance-preserving form takes a part of the low frequencies from `fresh`.
    """
    frames, _, height, width = noised.shape
    passes = low_pass(settings.filter, (frames, height, width))
    if settings.variance_preserving:
        return mix_powers(noised, fresh_detail, fresh, passes)
    return mix_bands(noised, fresh_detail, passes)
