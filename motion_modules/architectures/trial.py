"""Run an architecture on a tiny feature map and check what it promises.

Modules of other packs are tried out before they are first offered or used, those of this pack in
its tests. A trial takes a few milliseconds on the CPU and leaves the random numbers of the process
alone.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from ..attention_tap import QKV, AttentionCall, ModuleTaps
from ..contract import MotionInputs, SiteShape
from ..errors import MotionModelError, describe_cause, describe_error
from .architecture import Architecture

SITE = SiteShape(channels=64, time_channels=32, positions=4)  # a width that no real model has
CHUNKS, FRAMES, HEIGHT, WIDTH = 2, 3, 2, 4
TOLERANCE = 1e-3  # float32 on values near 1, with room for attention in another order


@dataclass(frozen=True)
class _TrialTraining:
    default_positions: int = SITE.positions
    joint_module_norm: bool = False


class UnloadedLinear(nn.Linear):
    """A layer without weights until a file is loaded, as the host makes them where it pages weights in."""

    def __init__(self, *shape: Any, **factory: Any):
        super().__init__(*shape, **factory)
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)


class UnloadedLayers:
    """The layers of torch, except that linear ones have no weights."""

    Linear = UnloadedLinear

    def __getattr__(self, name: str) -> type[nn.Module]:
        return getattr(nn, name)


@lru_cache(maxsize=64)
def try_out(architecture: Architecture) -> None:
    """Check every promise of `architecture`, once in a process; raise MotionModelError for one that it breaks."""
    subject = f"The motion module '{architecture.key}' of '{architecture.origin}'"
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
            torch.manual_seed(0)
            fault = _find_fault(architecture)
    except Exception as error:  # code of another pack may raise anything
        raise MotionModelError(
            f"{subject} fails when it is tried out on a tiny feature map, with "
            f"{describe_error(error)}. Correct its code."
        ) from error
    if fault:
        raise MotionModelError(f"{subject} {fault}.")


class _Listener:
    """A tap that notes whether it was called."""

    was_called = False

    def __call__(self, call: AttentionCall, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> QKV | None:
        self.was_called = True


@lru_cache(maxsize=64)
def shows_attention(architecture: Architecture) -> bool:
    """Return whether a module calls `temporal_attention`, where taps see and edit what attends to what."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
        config = architecture.config.for_site(SITE)
        module = architecture.module(config, ops=nn, device="cpu", dtype=torch.float32).train(False)
        listener = _Listener()
        x = torch.zeros(CHUNKS * FRAMES, SITE.channels, HEIGHT, WIDTH)
        _run(module, x, taps=ModuleTaps((listener,), module))
    return listener.was_called


def _find_fault(architecture: Architecture) -> str:
    """Return what is wrong and what to do, without subject and final full stop; or an empty string."""
    config = architecture.config.for_site(SITE)
    hash(config)  # the loader caches what it derives from a config
    if getattr(config, "channels", None) != SITE.channels:
        return f"has a config without the {SITE.channels} channels of its site. Keep them in a field channels"
    if not isinstance(getattr(config, "positions", None), int):
        return "has a config without positions. Add the largest number of frames that it takes at once"
    module = architecture.module(config, ops=nn, device="cpu", dtype=torch.float32).train(False)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    config_read = architecture.config.from_shapes(shapes, _TrialTraining())
    if config_read != config:
        return f"is read from its own tensors as {config_read} instead of {config}. Correct its from_shapes"
    return (
        _find_use_of_unloaded_weights(architecture, config)
        or _find_shared_weights(module)
        or _find_fault_when_fresh(architecture, module)
        or _find_fault_when_trained(module)
    )


def _find_use_of_unloaded_weights(architecture: Architecture, config: Any) -> str:
    architecture.module(config, ops=nn, device="meta", dtype=torch.float32)
    try:
        architecture.module(config, ops=UnloadedLayers(), device="meta", dtype=torch.float32)
    except Exception as error:  # code of another pack may raise anything
        return (
            f"uses weights of a linear layer in its constructor, before ComfyUI may have created them "
            f"({describe_cause(error)}). Go through layer.parameters() there"
        )
    return ""


def _find_shared_weights(module: nn.Module) -> str:
    names: dict[int, str] = {}
    for name, tensor in module.state_dict().items():
        first = names.setdefault(tensor.untyped_storage().data_ptr(), name) if tensor.numel() else name
        if first != name:
            return (
                f"shares memory between weights '{first}' and '{name}', which safetensors cannot store. "
                "Register only one of them"
            )
    return ""


def _find_fault_when_fresh(architecture: Architecture, module: nn.Module) -> str:
    x = torch.randn(CHUNKS * FRAMES, SITE.channels, HEIGHT, WIDTH)
    result = _run(module, x)
    if result.shape != x.shape:
        return f"turns a feature map of {list(x.shape)} into {list(result.shape)}. Return the shape of the input"
    if architecture.identity_at_start and not torch.equal(result, x):
        return (
            f"claims to be the identity at initialisation, but changes values by up to "
            f"{float((result - x).abs().max()):.2g}. Let its last layer start at zero"
        )
    return ""


def _find_fault_when_trained(module: nn.Module) -> str:
    """Find what shows only once weights are no longer fresh."""
    for parameter in module.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    x = torch.randn(CHUNKS * FRAMES, SITE.channels, HEIGHT, WIDTH)
    full_strength, half_strength = _run(module, x), _run(module, x, strength=0.5)
    if _differ(half_strength - x, 0.5 * (full_strength - x)):
        return "does not scale its change by inputs.strength. Return inputs.add(x, change)"
    one_chunk_at_a_time = torch.cat([_run(module, chunk) for chunk in x.split(FRAMES)])
    if _differ(full_strength, one_chunk_at_a_time):
        return "mixes the frames of different cond chunks. Work on inputs.frames frames at a time"
    return ""


def _run(module: nn.Module, x: torch.Tensor, **settings: Any) -> torch.Tensor:
    time = torch.linspace(-1, 1, SITE.time_channels).expand(len(x), -1)
    return module(x, MotionInputs(FRAMES, time_embedding=time, **settings))


def _differ(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    """Return whether two tensors differ by more than the tolerance; NaN differs from everything."""
    return not bool((actual - expected).abs().max() <= TOLERANCE * max(1.0, float(expected.abs().max())))
