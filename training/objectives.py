"""Losses that train motion, and the random numbers that a training step draws. Mathematics only."""

from dataclasses import dataclass

import torch

from ..motion_modules.errors import LoomError, require_finite

DEBIASING = 1.0  # beta of MotionDirector's appearance debiasing


@dataclass(frozen=True)
class Objective:
    """The error that training lowers, as mean squared error of the predicted noise of a clip.

    `debiased` adds MotionDirector's temporal loss, which does not see what all frames share.
    `min_snr_gamma` limits the weight of low noise (0: equal weights). `noise_offset` adds noise
    that all places of a frame share. `text_dropout` is the probability of a step without caption.
    """

    debiased: bool = False
    min_snr_gamma: float = 0.0
    noise_offset: float = 0.0
    text_dropout: float = 0.1

    def __post_init__(self):
        require_finite(self)
        if not 0 <= self.text_dropout <= 1 or min(self.min_snr_gamma, self.noise_offset) < 0:
            raise LoomError(
                f"`text_dropout` is {self.text_dropout}, `min_snr_gamma` {self.min_snr_gamma} and `noise_offset` "
                f"{self.noise_offset}. Use a `text_dropout` of 0 to 1, and 0 or more for the others."
            )

    def error(self, predicted: torch.Tensor, draw: "Draw", sigma: float) -> torch.Tensor:
        """Return the loss of noise `[frames, channels, height, width]` predicted at the noise level `sigma`."""
        noise = draw.noise.to(predicted)
        error = (predicted - noise).square().mean()
        if self.debiased:
            difference = debias(predicted, draw.anchor) - debias(noise, draw.anchor)
            error = error + difference.square().mean()
        return error * (min_snr_weight(sigma, self.min_snr_gamma) if self.min_snr_gamma else 1.0)


@dataclass(frozen=True)
class Draw:
    """The random numbers of one clip in one step: its number, one timestep for all its frames, noise for each.

    `anchor` is the frame from which the debiased loss subtracts. `captioned` is False in a step of
    text dropout.
    """

    clip: int
    timestep: int
    noise: torch.Tensor
    anchor: int
    captioned: bool


def draw(shapes: list[torch.Size], timesteps: int, objective: Objective, generator: torch.Generator) -> Draw:
    """Draw a clip among those of `shapes`, its timestep from 0 to `timesteps` - 1, and its noise."""
    clip = _draw_number(len(shapes), generator)
    frames, channels, height, width = shapes[clip]
    noise = torch.randn(frames, channels, height, width, generator=generator)
    if objective.noise_offset:
        noise += objective.noise_offset * torch.randn(frames, channels, 1, 1, generator=generator)
    captioned = float(torch.rand((), generator=generator)) >= objective.text_dropout
    return Draw(clip, _draw_number(timesteps, generator), noise, _draw_number(frames, generator), captioned)


def debias(noise: torch.Tensor, anchor: int) -> torch.Tensor:
    """Return alpha * noise - beta * noise[anchor], with beta = 1 and alpha = sqrt(beta^2 + 1).

    Zhao et al. 2023, "MotionDirector", equation 6: what the frames share, their appearance, is
    weakened, and noise of unit variance keeps a variance independent of the frame.
    """
    alpha = (DEBIASING**2 + 1) ** 0.5
    return alpha * noise - DEBIASING * noise[anchor : anchor + 1]


def min_snr_weight(sigma: float, gamma: float) -> float:
    """Return min(SNR, gamma) / SNR for predicted noise, with SNR = 1 / sigma^2 (Hang et al. 2023, section 3.4)."""
    snr = sigma**-2
    return min(snr, gamma) / snr


def smooth(losses: list[float], decay: float = 0.95) -> list[float]:
    """Return the running mean of `losses`, which differ from step to step with the timestep, from the first one on."""
    means, total, weight = [], 0.0, 0.0
    for loss in losses:
        total, weight = decay * total + loss, decay * weight + 1
        means.append(total / weight)
    return means


def _draw_number(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
