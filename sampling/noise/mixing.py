"""A weighted mix of two noises that keeps the variance."""

import math

import torch


def mix(x: torch.Tensor, y: torch.Tensor, share: float) -> torch.Tensor:
    """Return a x + b y with a^2 + b^2 = 1 and b^2 = `share`, the share of `y` in the variance.

    With x equal in all frames and y of each frame, this is the mixed noise of Ge et al. 2023,
    "Preserve Your Own Correlation" (PYoCo), whose alpha^2 is (1 - share) / share.
    """
    if not share:
        return x
    return math.sqrt(1 - share) * x + math.sqrt(share) * y
