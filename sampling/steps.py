"""Steps of a sampler."""

import torch

SIGMA_TOLERANCE = 1e-4


def step_number(sigma: float, sample_sigmas: torch.Tensor) -> int:
    """Return the step in which a sampler evaluates at `sigma`; between two sigmas, it is the earlier step."""
    started = int((sample_sigmas >= sigma * (1 - SIGMA_TOLERANCE)).sum())
    return max(0, started - 1)
