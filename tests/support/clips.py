"""Sampling a tiny clip with the host's own samplers, and looking at what its UNet received and returned."""

from dataclasses import dataclass, field
from typing import Any

import comfy.sample
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP

from tests.support.host_models import CONTEXT_WIDTH, POOLED_WIDTH

SIZE, TOKENS = 8, 7


def prompt(seed: int, tokens: int = TOKENS, **extra: Any) -> list:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(1, tokens, CONTEXT_WIDTH, generator=generator)
    return [[text, {"pooled_output": torch.randn(1, POOLED_WIDTH, generator=generator), **extra}]]


def noise(frames: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(frames, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def sample(
    model,
    frames: int = 3,
    steps: int = 2,
    cfg: float = 5.0,
    sampler: str = "euler",
    scheduler: str = "normal",
    **options,
) -> torch.Tensor:
    """The latents that KSampler would make of `frames` empty ones."""
    options = {"positive": prompt(2), "negative": prompt(3), "noise": noise(frames), "seed": 1} | options
    options.setdefault("latent_image", torch.zeros_like(options["noise"]))
    positive, negative, start = options.pop("positive"), options.pop("negative"), options.pop("noise")
    return comfy.sample.sample(
        model, start, steps, cfg, sampler, scheduler, positive, negative, disable_pbar=True, **options
    )


@dataclass
class UNetCalls:
    """A host wrapper that keeps the arguments and the result of every evaluation of the UNet."""

    calls: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, executor, x, timesteps, context, y=None, control=None, transformer_options=None, **kwargs):
        output = executor(x, timesteps, context, y, control, transformer_options, **kwargs)
        call = {"x": x, "timesteps": timesteps, "context": context, "y": y, "output": output}
        self.calls.append(call | {"chunks": transformer_options["cond_or_uncond"]})
        return output


def watched(model) -> tuple[Any, UNetCalls]:
    """A clone of `model` and what its UNet will have been asked."""
    clone, seen = model.clone(), UNetCalls()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", seen)
    return clone, seen


def evaluate_once(model, frames: int, timestep: int) -> dict[str, Any]:
    """One evaluation of the UNet with CFG at `timestep`, by the host's whole sampling path."""
    model, seen = watched(model)
    sigma = model.get_model_object("model_sampling").sigma(torch.tensor(float(timestep)))
    sample(model, frames, steps=1, sigmas=torch.stack((sigma, torch.zeros(()))))
    (call,) = seen.calls
    return call
