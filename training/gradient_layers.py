"""Gradients of the layers of a module after a backward pass: which there are, and how large."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from ..motion_modules.motion_model import MotionModules

NEARLY_CLOSED = 0.01


@dataclass(frozen=True)
class LayerGradient:
    """Gradient of the trained parameters of one layer: its `name` in the model, its `site`, and its `layer` there.

    `path` is the name of the motion module around it, empty outside of motion modules. `count` is
    the number of weights, `norm` the Euclidean norm of their gradient and `largest` its largest
    absolute value, both None where no gradient arrived. `openness` is the RMS of the weights times
    the square root of their number of inputs: 0 for a layer of zeros, about 0.6 after PyTorch's
    initialisation, infinite where the layer cannot close.
    """

    name: str
    path: str
    site: str
    layer: str
    count: int
    norm: float | None
    largest: float | None
    openness: float

    @property
    def level(self) -> float | None:
        """Return the decimal logarithm of the RMS gradient of a weight, or None where it is zero or not finite."""
        if not self.norm or not self.largest or not math.isfinite(self.norm):
            return None
        return math.log10(self.norm) - 0.5 * math.log10(self.count)

    @property
    def gates(self) -> bool:
        """Return whether the layer receives a gradient, but passes nearly nothing on to the layers before it."""
        return self.level is not None and self.openness < NEARLY_CLOSED


def measure_layers(module: nn.Module) -> list[LayerGradient]:
    """Return the gradients of all layers with trained parameters, in the order of the model."""
    sites, layers = _map_sites(module), _group_by_layer(module)
    return [
        LayerGradient(
            name,
            *_locate(name, sites),
            sum(parameter.numel() for parameter in parameters.values()),
            *_measure(list(parameters.values())),
            _measure_openness(parameters),
        )
        for name, parameters in layers.items()
    ]


def find_gates(gradients: list[LayerGradient]) -> dict[str, float]:
    """Return how far the motion modules are open that hardly pass gradients on, by path: 0 for not at all."""
    gates: dict[str, float] = {}
    for gradient in gradients:
        if gradient.gates:
            gates[gradient.path] = min(gradient.openness, gates.get(gradient.path, math.inf))
    return gates


def _group_by_layer(module: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """Group trained parameters by the layer that owns them.

    A parameter is its own group where its owner contains other layers, or has gradients for only
    some parameters.
    """
    trained = {name: value for name, value in module.named_parameters() if value.requires_grad and value.numel()}
    reached: dict[str, set[bool]] = {}
    for name, parameter in trained.items():
        reached.setdefault(_find_owner(name), set()).add(parameter.grad is not None)
    parents = {name for name, part in module.named_modules() if next(part.children(), None) is not None}
    split_owners = {"", *parents, *(owner for owner, both in reached.items() if len(both) == 2)}
    layers: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in trained.items():
        layer = name if _find_owner(name) in split_owners else _find_owner(name)
        layers.setdefault(layer, {})[name] = parameter
    return layers


def _find_owner(name: str) -> str:
    return name.rpartition(".")[0]


def _map_sites(module: nn.Module) -> dict[str, str]:
    """Return the sites of all motion modules, by the names of these modules in `module`."""
    models = [part.by_site for part in module.modules() if isinstance(part, MotionModules)]
    sites = {id(part): site for by_site in models for site, part in by_site.items()}
    return {name: sites[id(part)] for name, part in module.named_modules() if id(part) in sites}


def _locate(name: str, sites: dict[str, str]) -> tuple[str, str, str]:
    """Return path and site of the motion module that contains a layer, and the name of the layer there."""
    path = next((path for path in sites if name.startswith(f"{path}.")), "")
    if not path:
        return "", "", name
    return path, sites[path], name[path.rfind(".") + 1 :]


def _measure(parameters: list[nn.Parameter]) -> tuple[float | None, float | None]:
    """Return norm and largest absolute value of the gradients, None when no parameter has one."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return None, None
    pairs = [_measure_gradient(gradient) for gradient in gradients]
    largest = [pair[1] for pair in pairs]
    return math.hypot(*(norm for norm, _ in pairs)), math.nan if any(map(math.isnan, largest)) else max(largest)


def _measure_gradient(gradient: torch.Tensor) -> tuple[float, float]:
    """Divide by the largest value before the norm is taken, so that squares neither overflow nor vanish."""
    largest = float(gradient.abs().max())
    if not math.isfinite(largest) or largest == 0:
        return largest, largest
    return largest * float(torch.linalg.vector_norm((gradient / largest).float())), largest


def _measure_openness(parameters: dict[str, nn.Parameter]) -> float:
    """Return 0 for a layer of zeros; else the openness of its weight, which closes it when it has two dimensions."""
    if not any(bool(parameter.any()) for parameter in parameters.values()):
        return 0.0
    weights = [value for name, value in parameters.items() if name.endswith("weight") and value.ndim >= 2]
    return max((_measure_weight(weight) for weight in weights), default=math.inf)


def _measure_weight(weight: nn.Parameter) -> float:
    return float(torch.linalg.vector_norm(weight.detach().float())) / math.sqrt(len(weight))
