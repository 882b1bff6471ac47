"""Gradients of a training step: which layers they reach, and where they vanish, explode or become NaN."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..motion_modules.errors import LoomError
from ..motion_modules.motion_model import MotionModules

BROKEN, EXPLODING, NEVER, VANISHING = "NaN or Inf", "exploding", "never reached", "vanishing"
WAITING, OK = "waiting", "ok"
FAULTS = (BROKEN, EXPLODING, NEVER, VANISHING)

ADVICE = {
    BROKEN: "find the first one with torch.autograd.set_detect_anomaly(True), and train in float32 or bf16, since "
    "fp16 overflows",
    EXPLODING: "lower the learning rate, and clip with torch.nn.utils.clip_grad_norm_ before the optimiser's step",
    NEVER: "call this after loss.backward(), and look for layers that forward does not use, and for detach() or "
    "no_grad() between them and the loss",
    VANISHING: "look for zero weights and saturated activations between these layers and the loss, and train fp16 with "
    "a torch.amp.GradScaler",
    WAITING: "zero because a later layer is still zero-initialised. Not an error; it resolves after the first "
    "optimiser step",
}


@dataclass(frozen=True)
class GradientLimits:
    """Gradients of a layer vanish below one Euclidean norm and explode above another; 0 and infinity disable them."""

    vanishing: float = 1e-7
    exploding: float = 1e3

    def __post_init__(self):
        limits = (self.vanishing, self.exploding)
        if not all(isinstance(limit, (int, float)) for limit in limits) or not 0 <= self.vanishing < self.exploding:
            raise LoomError(
                f"`vanishing` is {self.vanishing} and `exploding` is {self.exploding}. "
                "Pass two numbers, with 0 <= vanishing < exploding."
            )


DEFAULT_LIMITS = GradientLimits()


@dataclass(frozen=True)
class GradientGroup:
    """The trained parameters of one layer: its `name` in the model, its `site`, and the name of the `layer` there.

    `count` is the number of weights, `norm` the Euclidean norm of their gradient and `largest` its
    largest absolute value. Both are None where no gradient arrived.
    """

    name: str
    site: str
    layer: str
    count: int
    norm: float | None
    largest: float | None
    verdict: str


@dataclass(frozen=True)
class GradientReport:
    """The gradients of all trained layers, with `groups` in the order of the model."""

    groups: tuple[GradientGroup, ...]
    limits: GradientLimits

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of groups for each verdict, the worst first."""
        counts = Counter(group.verdict for group in self.groups)
        return {verdict: counts[verdict] for verdict in (*FAULTS, WAITING, OK) if verdict in counts}

    @property
    def faulty(self) -> bool:
        return any(verdict in self.counts for verdict in FAULTS)

    def select(self, verdict: str) -> list[GradientGroup]:
        return [group for group in self.groups if group.verdict == verdict]

    def text(self) -> str:
        """Return one line when all is well, else a table with the faults first, and advice for each of them."""
        summary = ", ".join(f"{count} {verdict}" for verdict, count in self.counts.items())
        first = f"gradients of {len(self.groups)} layers: {summary}"
        if list(self.counts) == [OK]:
            return f"{first}, {_format_norms(self.groups)}"
        rows = [row for verdict in self.counts for row in self._list_rows(verdict)]
        advice = [
            f"{self._describe_verdict(verdict)}: {ADVICE[verdict]}." for verdict in self.counts if verdict in ADVICE
        ]
        return "\n".join([first, *_align_columns(rows), *advice])

    def data(self) -> dict[str, Any]:
        """Return the report as data for JSON, with None for NaN and Inf."""
        limits = {"vanishing": self.limits.vanishing, "exploding": _keep_finite(self.limits.exploding)}
        groups = [
            vars(group) | {"norm": _keep_finite(group.norm), "largest": _keep_finite(group.largest)}
            for group in self.groups
        ]
        return {"limits": limits, "counts": self.counts, "groups": groups}

    def _list_rows(self, verdict: str) -> Iterator[tuple[str, ...]]:
        """Yield a row for each kind of layer with a fault, and one row for all others."""
        groups = self.select(verdict)
        if verdict not in FAULTS:
            yield verdict, f"{len(groups)} layers", "", _format_norms(groups)
            return
        for layer in dict.fromkeys(group.layer for group in groups):
            same_layer = [group for group in groups if group.layer == layer]
            more = f" and {len(same_layer) - 1} more" if len(same_layer) > 1 else ""
            yield verdict, layer, same_layer[0].site + more, _format_norms(same_layer)

    def _describe_verdict(self, verdict: str) -> str:
        limits = {
            EXPLODING: f" (norm above {self.limits.exploding:g})",
            VANISHING: f" (norm below {self.limits.vanishing:g})",
        }
        return verdict + limits.get(verdict, "")


def gradient_report(module: nn.Module, limits: GradientLimits = DEFAULT_LIMITS) -> GradientReport:
    """Report the gradients of the trained parameters of `module`.

    Call it after the backward pass, before clipping and the optimiser step; with a GradScaler,
    after its `unscale_`. `module` may be one motion module, those of a motion model, or anything
    that contains them. Parameters are grouped by layer. A gradient of zero counts as "waiting"
    where a layer of the same motion module has only zero weights and receives a gradient, else as
    vanishing. Raises LoomError when no parameter needs a gradient.
    """
    layers = _group_by_layer(module)
    if not layers:
        raise LoomError(
            f"No parameter of the {type(module).__name__} needs a gradient. Call requires_grad_(True) on the "
            "parameters to train."
        )
    sites, measured = _map_sites(module), {name: _measure(parameters) for name, parameters in layers.items()}
    places = {name: _locate(name, sites) for name in layers}
    closed = {places[name][0] for name, parameters in layers.items() if _closes(parameters, measured[name])}
    groups = []
    for name, parameters in layers.items():
        path, site, layer = places[name]
        verdict = _judge(measured[name], limits, waits=path in closed)
        count = sum(parameter.numel() for parameter in parameters)
        groups.append(GradientGroup(name, site, layer, count, *measured[name], verdict))
    return GradientReport(tuple(groups), limits)


def _group_by_layer(module: nn.Module) -> dict[str, list[nn.Parameter]]:
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
    layers: dict[str, list[nn.Parameter]] = {}
    for name, parameter in trained.items():
        layers.setdefault(name if _find_owner(name) in split_owners else _find_owner(name), []).append(parameter)
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


def _closes(parameters: list[nn.Parameter], measured: tuple[float | None, float | None]) -> bool:
    """Return whether a layer has only zero weights but receives a gradient, and so blocks earlier layers."""
    return bool(measured[1]) and not any(bool(parameter.any()) for parameter in parameters)


def _judge(measured: tuple[float | None, float | None], limits: GradientLimits, waits: bool) -> str:
    norm, largest = measured
    if norm is None or largest is None:
        return NEVER
    if not math.isfinite(largest):
        return BROKEN
    if norm == 0 and waits:
        return WAITING
    if norm > limits.exploding:
        return EXPLODING
    return VANISHING if norm < limits.vanishing else OK


def _format_norms(groups: Sequence[GradientGroup]) -> str:
    """Return the range of norms and the largest value of `groups`, which share one verdict."""
    norms, largest = [group.norm or 0.0 for group in groups], [group.largest or 0.0 for group in groups]
    if groups[0].verdict in (NEVER, BROKEN) or not max(norms):
        return ""
    low, high = f"{min(norms):.2g}", f"{max(norms):.2g}"
    spread = low if low == high else f"{low} to {high}"
    return f"norm {spread}, largest value {max(largest):.2g}"


def _align_columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _keep_finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
