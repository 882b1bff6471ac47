"""Ranges of the noise schedule, which inputs named `..._percent` give.

In ComfyUI 0 % is the start of sampling (highest sigma) and 100 % its end (sigma 0).
"""


def has_started(percent: float, sigma: float, model_sampling) -> bool:
    """Return whether sampling has reached `percent` of the noise schedule at `sigma`."""
    return sigma <= model_sampling.percent_to_sigma(percent)
