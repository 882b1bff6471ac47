"""Noise schedules with which motion models were trained.

`scaled_linear` and `linear` are the names of diffusers; the host calls them "linear" and "sqrt_linear".
"""

from dataclasses import dataclass

import torch

TIMESTEPS = 1000


@dataclass(frozen=True)
class BetaSchedule:
    """beta_1 to beta_T, evenly spaced (or evenly in the square root when `scaled`); Ho et al. 2020, section 4.

    `lcm_timesteps`: when set, the model is a latent consistency model distilled on that many of the
    timesteps.
    """

    scaled: bool
    end: float = 0.012
    start: float = 0.00085
    lcm_timesteps: int = 0

    def betas(self) -> torch.Tensor:
        """`[1000]` in float64."""
        power = 2 if self.scaled else 1
        first, last = self.start ** (1 / power), self.end ** (1 / power)
        return torch.linspace(first, last, TIMESTEPS, dtype=torch.float64) ** power

    def sigmas(self) -> torch.Tensor:
        """`[1000]` noise levels sqrt((1 - abar) / abar), rising, in float64 (Karras et al. 2022, appendix C.3.4)."""
        alphas_cumprod = torch.cumprod(1 - self.betas(), dim=0)
        return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()


BETA_SCHEDULES = {
    "AnimateDiff (linear)": BetaSchedule(scaled=False),
    "AnimateDiff-SDXL (scaled_linear to 0.020)": BetaSchedule(scaled=True, end=0.020),
    "Stable Diffusion (scaled_linear)": BetaSchedule(scaled=True),
    "AnimateLCM (linear, LCM)": BetaSchedule(scaled=False, lcm_timesteps=100),
    "AnimateLCM-I2V (linear to 0.014, LCM)": BetaSchedule(scaled=False, end=0.014, lcm_timesteps=200),
}
