"""Step noise: what ancestral, SDE and LCM samplers add after each step, from the rule of the initial noise.

Samplers of k-diffusion ask `noise_sampler(sigma, sigma_next)` for white noise.
"""

import copy
import inspect
import logging
import math
from collections.abc import Iterator
from typing import Any

import torch

NOISE_SAMPLER = "noise_sampler"


class StepNoise:
    """A `noise_sampler` that takes white noise from `draws`.

    Some SDE samplers ask for two intervals that begin at one noise level in a row. Both are then
    increments of one Brownian motion W of the noise level, divided by the root of their length.
    """

    def __init__(self, draws: Iterator[torch.Tensor], device: torch.device):
        self.draws, self.device = draws, device
        self.start, self.length, self.noise = math.nan, 0.0, torch.empty(0)

    def __call__(self, sigma: torch.Tensor | float, sigma_next: torch.Tensor | float) -> torch.Tensor:
        start, length = float(sigma), abs(float(sigma_next) - float(sigma))
        fresh = next(self.draws).to(self.device)
        if start == self.start and length != self.length:
            fresh = continue_increment(self.noise, self.length, fresh, length)
        self.start, self.length, self.noise = start, length, fresh
        return fresh


def continue_increment(noise: torch.Tensor, length: float, fresh: torch.Tensor, other_length: float) -> torch.Tensor:
    """Return W(other_length) / sqrt(other_length), where W(`length`) is sqrt(`length`) `noise`; `fresh` is white."""
    if other_length > length:
        return (math.sqrt(length) * noise + math.sqrt(other_length - length) * fresh) / math.sqrt(other_length)
    share = other_length / length
    return math.sqrt(share) * noise + math.sqrt(1 - share) * fresh


def with_step_noise(sampler: Any, draws: Iterator[torch.Tensor], device: torch.device) -> Any:
    """Return a copy of the host's `sampler` that takes its step noise from `draws`, if it asks for any.

    A `noise_sampler` that another node set stays.
    """
    function = getattr(sampler, "sampler_function", None)
    if function is None or not _takes_noise_sampler(function):
        name = getattr(function or sampler, "__name__", type(sampler).__name__)
        logging.info(f"Video Noise: sampler '{name}' asks for no step noise, so `step_noise` changes nothing.")
        return sampler
    copied = copy.copy(sampler)
    copied.extra_options = {NOISE_SAMPLER: StepNoise(draws, device)} | sampler.extra_options
    return copied


def _takes_noise_sampler(function: Any) -> bool:
    parameters = inspect.signature(function).parameters
    return NOISE_SAMPLER in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())
