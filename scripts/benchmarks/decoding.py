"""Decoding of a clip by the full-size autoencoder of SD1.5, over one sampling step with motion modules."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from . import Run
from .measuring import Figure, Sample, alternate, compare, measure_time
from .models import DTYPES
from .step import Steps, evaluate, make_models

CPU_SIZES = (128,)


def figures(run: Run) -> Iterator[Figure]:
    for dtype in run.dtypes:
        models, decoder = make_models(dtype), make_decoder(run.device, DTYPES[dtype])
        for size in CPU_SIZES if run.device.type == "cpu" else run.sizes:
            evaluate(models["animated"], run.frames, 64, lambda step: step())
            step = Steps(run, models["animated"], run.frames, size)
            contestants: dict[str, Callable[[], Sample]] = {"decoding": _decode(decoder, run, size), "step": step}
            name = f"decoding {size}x{size}, {run.frames} frames, {dtype}"
            yield compare(name, alternate(contestants, run.repetitions), run.device)


def make_decoder(device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    """Make the decoder of SD1.5 with torch's fresh weights, and with the attention that the host chooses here."""
    from diagrams.full_size import create_decoder

    return create_decoder(device).to(dtype).requires_grad_(False)


def _decode(decoder: torch.nn.Module, run: Run, size: int) -> Callable[[], Sample]:
    latents: Any = torch.randn(run.frames, 4, size // 8, size // 8)
    latents = latents.to(run.device, next(decoder.parameters()).dtype)
    return lambda: measure_time(lambda: [decoder(latent[None]) for latent in latents], run.device)
