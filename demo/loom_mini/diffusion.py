"""Noise schedules, prompt features, and a simple sampler to check what was learned."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from comfy.sd1_clip import SD1Tokenizer
from host.in_process import pack

TIMESTEPS, LARGEST_WEIGHT = 1000, 20.0
IMAGE_SCHEDULE, MOTION_SCHEDULE = "Stable Diffusion (scaled_linear)", "AnimateDiff (linear)"

Denoiser = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # latents, timesteps, context


class Schedule:
    """x_t = signal[t] x_0 + noise[t] e, with the pack's own beta schedules (Ho et al. 2020, equation 4)."""

    def __init__(self, name: str):
        sigmas = pack("motion_modules.beta_schedules").BETA_SCHEDULES[name].sigmas()
        self.signal = (1 / (1 + sigmas.square()).sqrt()).float()
        self.noise = (sigmas / (1 + sigmas.square()).sqrt()).float()

    def noisy(self, clean: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        shape = (-1, *[1] * (clean.ndim - 1))
        return self.signal[t].view(shape) * clean + self.noise[t].view(shape) * noise

    def error(self, predicted: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the squared error of the predicted noise (ibid., equation 14), weighted by 1 / signal^2 up to a limit.

        The weight measures an error by its effect on the picture. Without it, the error is smallest
        at high noise, where layout, shape and direction are decided, so these are learned last.
        """
        weight = self.signal[t].pow(-2).clamp(max=LARGEST_WEIGHT)
        return (weight * (predicted - noise).square().flatten(1).mean(1)).mean()


def high_timesteps(count: int) -> torch.Tensor:
    """Draw timesteps, more often at high noise, where layout and direction are decided."""
    return ((1 - torch.rand(count).square()) * TIMESTEPS).long().clamp(max=TIMESTEPS - 1)


class Prompts:
    """Tokens and features of captions, from the host's tokenizer and text encoder."""

    def __init__(self, encoder: Any):
        self.encoder, self.tokenizer = encoder, SD1Tokenizer()
        self._tokens: dict[str, list[int]] = {}

    def tokens(self, captions: Sequence[str]) -> torch.Tensor:
        for text in captions:
            if text not in self._tokens:
                (chunk,) = self.tokenizer.tokenize_with_weights(text)["l"]
                self._tokens[text] = [int(token) for token, _ in chunk]
        return torch.tensor([self._tokens[text] for text in captions])

    def features(self, captions: Sequence[str]) -> torch.Tensor:
        """Return `[n, 77, width]` as the host's encoder does, but without in-place additions, so that it trains."""
        model = self.encoder.clip_l.transformer.text_model
        hidden = model.embeddings(self.tokens(captions))
        length = hidden.shape[1]
        mask = torch.full((length, length), -torch.finfo(hidden.dtype).max).triu_(1)
        for layer in model.encoder.layers:
            hidden = hidden + layer.self_attn(layer.layer_norm1(hidden), mask, _attention)
            hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
        return model.final_layer_norm(hidden)


def _attention(q, k, v, heads: int, mask: torch.Tensor) -> torch.Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    schedule: Schedule,
    noise: torch.Tensor,
    context: torch.Tensor,
    empty: torch.Tensor,
    *,
    steps: int = 20,
    guidance: float = 4.0,
) -> torch.Tensor:
    """Sample with DDIM without added noise (Song et al. 2021, equation 12) and classifier-free guidance."""
    times = torch.linspace(TIMESTEPS - 1, 0, steps + 1).round().long()
    both, x = torch.cat([context, empty]), noise
    for now, after in pairwise(times):
        t = now.expand(2 * len(x))
        conditional, unconditional = denoiser(torch.cat([x, x]), t, both).chunk(2)
        predicted = unconditional + guidance * (conditional - unconditional)
        clean = (x - schedule.noise[now] * predicted) / schedule.signal[now]
        x = clean if after == 0 else schedule.signal[after] * clean + schedule.noise[after] * predicted
    return x
