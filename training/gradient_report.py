"""How the gradients of a training step look: which layers they reach, and where they vanish, explode or break."""

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
    BROKEN: "find where it begins with torch.autograd.set_detect_anomaly(True), and train in float32 or bf16, since "
    "fp16 overflows",
    EXPLODING: "lower the learning rate, and clip with torch.nn.utils.clip_grad_norm_ before the optimiser's step",
    NEVER: "call this after loss.backward(), and look for layers that forward does not use, and for detach() or "
    "no_grad() between them and the loss",
    VANISHING: "look for zero weights and saturated activations between these layers and the loss, and train fp16 with "
    "a torch.amp.GradScaler",
    WAITING: "exactly zero, since a layer behind them is still all zeros, as the last one of a fresh motion module is, "
    "and lets no gradient through, which is no fault and ends with the optimiser's first step",
}


@dataclass(frozen=True)
class GradientLimits:
    """A layer's gradients vanish below one Euclidean norm, and explode above another; 0 and infinity switch it off."""

    vanishing: float = 1e-7
    exploding: float = 1e3

    def __post_init__(self):
        given = (self.vanishing, self.exploding)
        if not all(isinstance(limit, (int, float)) for limit in given) or not 0 <= self.vanishing < self.exploding:
            raise LoomError(
                f"The limits of a gradient report are {self.vanishing} for vanishing and {self.exploding} for "
                "exploding: give two numbers, of which the first is at least 0 and below the second."
            )


DEFAULT_LIMITS = GradientLimits()


@dataclass(frozen=True)
class GradientGroup:
    """The parameters of one layer: its `name` in the whole model, and apart the `site` and the `layer` there.

    `count` is of their numbers, `norm` the Euclidean norm of the gradient, `largest` its largest absolute value; both
    are None where it was never reached.
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
    """`groups` are in the order of the model."""

    groups: tuple[GradientGroup, ...]
    limits: GradientLimits

    @property
    def counts(self) -> dict[str, int]:
        """Groups by verdict, the worst first."""
        found = Counter(group.verdict for group in self.groups)
        return {verdict: found[verdict] for verdict in (*FAULTS, WAITING, OK) if verdict in found}

    @property
    def faulty(self) -> bool:
        return any(verdict in self.counts for verdict in FAULTS)

    def of(self, verdict: str) -> list[GradientGroup]:
        return [group for group in self.groups if group.verdict == verdict]

    def text(self) -> str:
        """One line when all is well; else a table with what is wrong first, and what to do about it."""
        summary = ", ".join(f"{count} {verdict}" for verdict, count in self.counts.items())
        first = f"gradients of {len(self.groups)} layers: {summary}"
        if list(self.counts) == [OK]:
            return f"{first}, {_norms(self.groups)}"
        rows = [row for verdict in self.counts for row in self._rows(verdict)]
        advice = [f"{self._named(verdict)}: {ADVICE[verdict]}." for verdict in self.counts if verdict in ADVICE]
        return "\n".join([first, *_aligned(rows), *advice])

    def data(self) -> dict[str, Any]:
        """For JSON: numbers that are NaN or Inf are None."""
        limits = {"vanishing": self.limits.vanishing, "exploding": _finite(self.limits.exploding)}
        groups = [
            vars(group) | {"norm": _finite(group.norm), "largest": _finite(group.largest)} for group in self.groups
        ]
        return {"limits": limits, "counts": self.counts, "groups": groups}

    def _rows(self, verdict: str) -> Iterator[tuple[str, ...]]:
        """What is wrong a line for each kind of layer, with its sites; the rest of it in one."""
        groups = self.of(verdict)
        if verdict not in FAULTS:
            yield verdict, f"{len(groups)} layers", "", _norms(groups)
            return
        for layer in dict.fromkeys(group.layer for group in groups):
            alike = [group for group in groups if group.layer == layer]
            more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
            yield verdict, layer, alike[0].site + more, _norms(alike)

    def _named(self, verdict: str) -> str:
        limits = {
            EXPLODING: f" (norm above {self.limits.exploding:g})",
            VANISHING: f" (norm below {self.limits.vanishing:g})",
        }
        return verdict + limits.get(verdict, "")


def gradient_report(module: nn.Module, limits: GradientLimits = DEFAULT_LIMITS) -> GradientReport:
    """Of the parameters of `module` that are trained, after a backward pass: before clipping and the optimiser's step.

    With a GradScaler, call its `unscale_` first. `module` may be one motion module, those of a motion model, or
    anything that holds them. A group is what one layer owns. A gradient of exactly zero is "waiting" where the motion
    module has a layer whose weights are all zero, and which a gradient does reach; else it has vanished.
    Raises LoomError when no parameter needs a gradient.
    """
    layers = _layers(module)
    if not layers:
        raise LoomError(
            f"No parameter of the {type(module).__name__} needs a gradient: call requires_grad_(True) on what is to be "
            "trained."
        )
    sites, measured = _sites(module), {name: _measure(parameters) for name, parameters in layers.items()}
    places = {name: _place(name, sites) for name in layers}
    closed = {places[name][0] for name, parameters in layers.items() if _closes(parameters, measured[name])}
    groups = []
    for name, parameters in layers.items():
        path, site, layer = places[name]
        verdict = _verdict(measured[name], limits, waits=path in closed)
        count = sum(parameter.numel() for parameter in parameters)
        groups.append(GradientGroup(name, site, layer, count, *measured[name], verdict))
    return GradientReport(tuple(groups), limits)


def _layers(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Trained parameters by the layer that owns them.

    By their own names where that holds other layers too, or where only some of its parameters have a gradient.
    """
    trained = {name: value for name, value in module.named_parameters() if value.requires_grad and value.numel()}
    reached: dict[str, set[bool]] = {}
    for name, parameter in trained.items():
        reached.setdefault(_owner(name), set()).add(parameter.grad is not None)
    holders = {name for name, part in module.named_modules() if next(part.children(), None) is not None}
    apart = {"", *holders, *(owner for owner, both in reached.items() if len(both) == 2)}
    layers: dict[str, list[nn.Parameter]] = {}
    for name, parameter in trained.items():
        layers.setdefault(name if _owner(name) in apart else _owner(name), []).append(parameter)
    return layers


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _sites(module: nn.Module) -> dict[str, str]:
    """The sites of all motion modules inside, by the names that these modules have in `module`."""
    of_models = [part.by_site for part in module.modules() if isinstance(part, MotionModules)]
    sites = {id(part): site for by_site in of_models for site, part in by_site.items()}
    return {name: sites[id(part)] for name, part in module.named_modules() if id(part) in sites}


def _place(name: str, sites: dict[str, str]) -> tuple[str, str, str]:
    """The path and the site of the motion module to which a layer belongs, and what the layer is called there."""
    path = next((path for path in sites if name.startswith(f"{path}.")), "")
    if not path:
        return "", "", name
    return path, sites[path], name[path.rfind(".") + 1 :]


def _measure(parameters: list[nn.Parameter]) -> tuple[float | None, float | None]:
    """Norm and largest absolute value of the gradients, which are None when no parameter has one."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return None, None
    pairs = [_norm_and_largest(gradient) for gradient in gradients]
    largest = [pair[1] for pair in pairs]
    return math.hypot(*(norm for norm, _ in pairs)), math.nan if any(map(math.isnan, largest)) else max(largest)


def _norm_and_largest(gradient: torch.Tensor) -> tuple[float, float]:
    """The norm of values that are divided by the largest first, whose squares neither overflow nor vanish."""
    largest = float(gradient.abs().max())
    if not math.isfinite(largest) or largest == 0:
        return largest, largest
    return largest * float(torch.linalg.vector_norm((gradient / largest).float())), largest


def _closes(parameters: list[nn.Parameter], measured: tuple[float | None, float | None]) -> bool:
    """Whether a layer of zeros, which gradients do reach, lets none through to those before it."""
    return bool(measured[1]) and not any(bool(parameter.any()) for parameter in parameters)


def _verdict(measured: tuple[float | None, float | None], limits: GradientLimits, waits: bool) -> str:
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


def _norms(groups: Sequence[GradientGroup]) -> str:
    """Of groups with one verdict."""
    norms, largest = [group.norm or 0.0 for group in groups], [group.largest or 0.0 for group in groups]
    if groups[0].verdict in (NEVER, BROKEN) or not max(norms):
        return ""
    low, high = f"{min(norms):.2g}", f"{max(norms):.2g}"
    spread = low if low == high else f"{low} to {high}"
    return f"norm {spread}, largest value {max(largest):.2g}"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
