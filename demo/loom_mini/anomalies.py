"""Origin of the first NaN or Inf in a training step."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook


class TrainingStopped(Exception):
    """Raised when training stops; the message names the step, the reason and what to do."""


@contextmanager
def named_anomalies(module: nn.Module, step: int) -> Iterator[None]:
    """Stop training at the first layer whose output, or operation whose gradient, is not finite.

    Errors name the layers of `module` by name and all other layers by class.
    """
    names = {id(part): name for name, part in module.named_modules()}

    def check(layer: nn.Module, arguments: tuple, result: object) -> None:
        if isinstance(result, torch.Tensor) and not result.isfinite().all():
            name = names.get(id(layer)) or f"a {type(layer).__name__}"
            raise TrainingStopped(
                f"In step {step}, the layer '{name}' returned the first NaN or Inf. Check its input and weights, lower "
                "--rate, or train with --precision float32."
            )

    hook = register_module_forward_hook(check)
    try:
        with torch.autograd.set_detect_anomaly(True):
            yield
    except RuntimeError as error:
        match = re.search(r"'(\w+)' returned nan", str(error))
        if not match:
            raise
        raise TrainingStopped(
            f"In step {step}, {match[1]} returned the first NaN of the backward pass. Check the line of code in "
            "PyTorch's warning above, lower --rate, or train with --precision float32."
        ) from error
    finally:
        hook.remove()
