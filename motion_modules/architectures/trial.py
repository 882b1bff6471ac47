"""Every architecture is tried out on a tiny feature map when it is registered, or first read from another pack's list.

A few milliseconds on the CPU, at a width that no real model has; the random numbers of the process are left alone.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from ..contract import MotionInputs, SiteShape
from ..errors import MotionModelError, cause_of, kind_and_cause_of
from .architecture import Architecture

SITE = SiteShape(channels=64, time_channels=32, positions=4)
CHUNKS, FRAMES, HEIGHT, WIDTH = 2, 3, 2, 4
TOLERANCE = 1e-3  # float32 on values near 1, with room for attention in another order


@dataclass(frozen=True)
class _OwnTraining:
    default_positions: int = SITE.positions
    joint_module_norm: bool = False


class UnloadedLinear(nn.Linear):
    """As the host's are where it pages weights in, by default on NVIDIA cards: none until a file is loaded."""

    def __init__(self, *shape: Any, **factory: Any):
        super().__init__(*shape, **factory)
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)


class UnloadedLayers:
    """Layers of torch, of which linear ones have no weights."""

    Linear = UnloadedLinear

    def __getattr__(self, kind: str) -> type[nn.Module]:
        return getattr(nn, kind)


@lru_cache(maxsize=64)
def tried_out(architecture: Architecture) -> Architecture:
    """The same, once it has kept its promises; else MotionModelError in one sentence."""
    named = f"The motion module '{architecture.key}' of '{architecture.origin}'"
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
            torch.manual_seed(0)
            fault = _fault(architecture)
    except Exception as error:  # it is another's code, and may raise anything
        raise MotionModelError(
            f"{named} fails when it is tried out on a tiny feature map, with "
            f"{kind_and_cause_of(error)}: correct its code."
        ) from error
    if fault:
        raise MotionModelError(f"{named} {fault}.")
    return architecture


def _fault(architecture: Architecture) -> str:
    config = architecture.config.for_site(SITE)
    hash(config)  # what the loader derives from a config, it keeps
    if getattr(config, "channels", None) != SITE.channels:
        return f"has a config without the {SITE.channels} channels of its site: keep them in a field channels"
    if not isinstance(getattr(config, "positions", None), int):
        return "has a config without positions: add the largest number of frames that it takes at once"
    module = architecture.module(config, ops=nn, device="cpu", dtype=torch.float32).eval()
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    again = architecture.config.from_shapes(shapes, _OwnTraining())
    if again != config:
        return f"is read back from its own tensors as {again} instead of {config}: correct its from_shapes"
    return (
        _fault_of_unloaded(architecture, config)
        or _fault_of_weights(module)
        or _fault_of_fresh(architecture, module)
        or _fault_of_any(module)
    )


def _fault_of_unloaded(architecture: Architecture, config: Any) -> str:
    architecture.module(config, ops=nn, device="meta", dtype=torch.float32)
    try:
        architecture.module(config, ops=UnloadedLayers(), device="meta", dtype=torch.float32)
    except Exception as error:  # it is another's code, and may raise anything
        return (
            f"uses weights of a linear layer in its constructor, where ComfyUI may not have made them yet "
            f"({cause_of(error)}): go through layer.parameters() there"
        )
    return ""


def _fault_of_weights(module: nn.Module) -> str:
    names: dict[int, str] = {}
    for name, tensor in module.state_dict().items():
        first = names.setdefault(tensor.untyped_storage().data_ptr(), name) if tensor.numel() else name
        if first != name:
            return f"has one memory for its weights '{first}' and '{name}', which a file cannot tell: keep one of them"
    return ""


def _fault_of_fresh(architecture: Architecture, module: nn.Module) -> str:
    x = torch.randn(CHUNKS * FRAMES, SITE.channels, HEIGHT, WIDTH)
    result = _run(module, x)
    if result.shape != x.shape:
        return f"turns a feature map of {list(x.shape)} into {list(result.shape)}: return the shape that it is given"
    if architecture.identity_at_start and not torch.equal(result, x):
        return (
            f"says that it is the identity at initialisation, but changes values by up to "
            f"{float((result - x).abs().max()):.2g}: let its last layer start at zero"
        )
    return ""


def _fault_of_any(module: nn.Module) -> str:
    """What shows only with weights that are not fresh any more."""
    for parameter in module.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    x = torch.randn(CHUNKS * FRAMES, SITE.channels, HEIGHT, WIDTH)
    whole, half = _run(module, x), _run(module, x, strength=0.5)
    if _differ(half - x, 0.5 * (whole - x)):
        return "does not scale its change by inputs.strength: return inputs.add(x, change)"
    alone = torch.cat([_run(module, chunk) for chunk in x.split(FRAMES)])
    if _differ(whole, alone):
        return "mixes the frames of different cond chunks: work on inputs.frames frames at a time"
    return ""


def _run(module: nn.Module, x: torch.Tensor, **settings: Any) -> torch.Tensor:
    time = torch.linspace(-1, 1, SITE.time_channels).expand(len(x), -1)
    return module(x, MotionInputs(FRAMES, time_embedding=time, **settings))


def _differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    """NaN differs from everything."""
    return not bool((one - other).abs().max() <= TOLERANCE * max(1.0, float(other.abs().max())))
