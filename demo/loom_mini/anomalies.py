"""Where the first NaN or Inf of a training step came from."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook


class TrainingStopped(Exception):
    """In one sentence: at which step, why, and what to do."""


@contextmanager
def named_anomalies(module: nn.Module, step: int) -> Iterator[None]:
    """Ends training at the first layer whose output, or the first operation whose gradient, is not finite.

    Layers of `module` are called by their names, all others by their classes.
    """
    names = {id(part): name for name, part in module.named_modules()}

    def check(layer: nn.Module, given: tuple, result: object) -> None:
        if isinstance(result, torch.Tensor) and not result.isfinite().all():
            name = names.get(id(layer)) or f"a {type(layer).__name__}"
            raise TrainingStopped(
                f"In step {step} the first NaN or Inf came out of the layer '{name}': look at its input and weights, "
                "lower --rate, or train with --precision float32."
            )

    hook = register_module_forward_hook(check)
    try:
        with torch.autograd.set_detect_anomaly(True):
            yield
    except RuntimeError as error:
        found = re.search(r"'(\w+)' returned nan", str(error))
        if not found:
            raise
        raise TrainingStopped(
            f"In step {step} the first NaN of the backward pass was made by {found[1]}: look at the line of code that "
            "PyTorch's warning above shows, lower --rate, or train with --precision float32."
        ) from error
    finally:
        hook.remove()
