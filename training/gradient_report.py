"""Gradients of a training step: which layers they reach, and where they vanish, explode or become NaN."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..motion_modules.errors import LoomError
from .gradient_expectations import Deviation, GradientHistory, measure_deviations
from .gradient_layers import LayerGradient, find_gates, measure_layers

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
    WAITING: "zero or small because a later layer is still at or near its initial zeros. Not an error; it resolves in "
    "the first optimiser steps",
}


@dataclass(frozen=True)
class GradientLimits:
    """Factors by which a gradient vanishes or explodes, relative to what is expected; 0 and infinity disable them.

    What differs more in a healthy run, such as the kinds of layers in one module, gets a hundred
    times the range.
    """

    vanishing: float = 1e-4
    exploding: float = 1e3

    def __post_init__(self):
        limits = (self.vanishing, self.exploding)
        if not all(isinstance(limit, (int, float)) for limit in limits) or not 0 <= self.vanishing < 1 < self.exploding:
            raise LoomError(
                f"`vanishing` is {self.vanishing} and `exploding` is {self.exploding}. "
                "Pass two numbers, with 0 <= vanishing < 1 < exploding."
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
            EXPLODING: f" (over {self.limits.exploding:g} times the expected gradient)",
            VANISHING: f" (zero, or under {self.limits.vanishing:g} times the expected gradient)",
        }
        return verdict + limits.get(verdict, "")


def gradient_report(
    module: nn.Module, limits: GradientLimits = DEFAULT_LIMITS, history: GradientHistory | None = None
) -> GradientReport:
    """Report the gradients of the trained parameters of `module`.

    Call it after the backward pass, before clipping and the optimiser step; with a GradScaler,
    after its `unscale_`. `module` may be one motion module, those of a motion model, or anything
    that contains them. Parameters are grouped by layer. A layer is judged relative to layers of its
    kind at other sites, to the other layers of the model, and to its own gradients in `history`. A
    gradient of zero, or one that is too small, counts as "waiting" while a layer of the same motion
    module is at or near its initial zeros. Raises LoomError when no parameter needs a gradient.
    """
    gradients = measure_layers(module)
    if not gradients:
        raise LoomError(
            f"No parameter of the {type(module).__name__} needs a gradient. Call requires_grad_(True) on the "
            "parameters to train."
        )
    deviations, gates = measure_deviations(gradients, history), find_gates(gradients)
    groups = []
    for each in gradients:
        openness = math.inf if each.gates else gates.get(each.path, math.inf)
        verdict = _judge(each, deviations.get(each.name), openness, limits)
        groups.append(GradientGroup(each.name, each.site, each.layer, each.count, each.norm, each.largest, verdict))
    return GradientReport(tuple(groups), limits)


def _judge(gradient: LayerGradient, deviation: Deviation | None, openness: float, limits: GradientLimits) -> str:
    """Return the verdict on a layer; `openness` is that of a layer that hardly passes gradients on to it."""
    if gradient.norm is None or gradient.largest is None:
        return NEVER
    if not math.isfinite(gradient.largest):
        return BROKEN
    if deviation is None:  # a gradient of zero
        if openness == 0:
            return WAITING
        return VANISHING if limits.vanishing else OK
    if 10**deviation.above > limits.exploding:
        return EXPLODING
    if 10**deviation.below >= limits.vanishing:
        return OK
    return VANISHING if openness == math.inf else WAITING


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
