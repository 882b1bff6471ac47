"""Ranges of the noise schedule, which inputs named `..._percent` give.

In ComfyUI 0 % is the start of sampling (highest sigma) and 100 % its end (sigma 0).
"""

HALVINGS, DIGITS = 30, 6


def has_started(percent: float, sigma: float, model_sampling) -> bool:
    """Return whether sampling has reached `percent` of the noise schedule at `sigma`."""
    return sigma <= model_sampling.percent_to_sigma(percent)


def is_between(start_percent: float, end_percent: float, sigma: float, model_sampling) -> bool:
    """Return whether sampling has reached the start of a range of the noise schedule at `sigma`, but not its end."""
    return has_started(start_percent, sigma, model_sampling) and not has_started(end_percent, sigma, model_sampling)


def find_progress(sigma: float, model_sampling) -> float:
    """Return the largest percent, 0 to 1, that sampling has reached at `sigma`, to the nearest millionth."""
    reached, ahead = 0.0, 1.0
    if has_started(ahead, sigma, model_sampling):
        return ahead
    for _ in range(HALVINGS):
        middle = (reached + ahead) / 2
        if has_started(middle, sigma, model_sampling):
            reached = middle
        else:
            ahead = middle
    return round(reached, DIGITS)
