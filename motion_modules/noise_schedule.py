"""Ranges of the noise schedule, which inputs named `..._percent` give.

In ComfyUI 0 % is the start of sampling (highest sigma) and 100 % its end (sigma 0).
"""

from .errors import LoomError

HALVINGS, DIGITS = 30, 6


def require_range(start_percent: float, end_percent: float) -> None:
    """Raise LoomError for a range of the noise schedule that holds no step."""
    if start_percent >= end_percent:
        raise LoomError(
            f"`start_percent` is {start_percent} and `end_percent` is {end_percent}. "
            "Set `start_percent` below `end_percent`."
        )


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
