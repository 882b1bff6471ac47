"""Steps of a sampler, and the ranges of the noise schedule that the inputs `..._percent` name.

In ComfyUI 0 % is the start of sampling (highest sigma) and 100 % its end (sigma 0).
"""

import torch

SIGMA_TOLERANCE = 1e-4


def step_number(sigma: float, sample_sigmas: torch.Tensor) -> int:
    """Return the step in which a sampler evaluates at `sigma`; between two sigmas, it is the earlier step."""
    started = int((sample_sigmas >= sigma * (1 - SIGMA_TOLERANCE)).sum())
    return max(0, started - 1)


def has_started(percent: float, sigma: float, model_sampling) -> bool:
    """Return whether sampling has reached `percent` of the noise schedule at `sigma`."""
    return sigma <= model_sampling.percent_to_sigma(percent)
