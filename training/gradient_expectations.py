"""Size of a gradient that other layers, and earlier steps of the run, lead to expect.

The output projection of a new motion module starts at zero, and sites differ by a factor of a
thousand, so no absolute size tells a vanishing gradient from that of a healthy module in warm-up.
Relative to the other sites, layers of one kind keep within a factor of ten from the second step on.
Sizes are decimal logarithms (levels).
"""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median, median_high, median_low

from torch import nn

from .gradient_layers import LayerGradient, find_gates, measure_layers

ROUNDS = 3
SLACK = 2.0  # decades by which kinds, sites and whole steps of a healthy run differ more than layers of one kind
FEWEST_SITES, FEWEST_STEPS, MOST_STEPS = 3, 3, 1000

Levels = dict[str, float]


class GradientHistory:
    """Gradients of a training run, for a report that judges a step relative to the run.

    Call `record` after every tenth backward pass or so, before gradient clipping; it takes
    milliseconds. It leaves out a motion module whose output projection is still at its initial
    zeros, except for that layer.
    """

    def __init__(self):
        self._levels: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=MOST_STEPS))

    def record(self, module: nn.Module) -> None:
        gradients = measure_layers(module)
        gates = find_gates(gradients)
        for gradient in gradients:
            if gradient.level is not None and (gradient.gates or gradient.path not in gates):
                self._levels[gradient.name].append(gradient.level)

    def medians(self) -> Levels:
        """Return the median of each layer, without those of which too few steps are known."""
        return {name: median(levels) for name, levels in self._levels.items() if len(levels) >= FEWEST_STEPS}


@dataclass(frozen=True)
class Deviation:
    """Decades by which a layer is below (negative) and above (positive) what is expected of it."""

    below: float = 0.0
    above: float = 0.0


def measure_deviations(gradients: list[LayerGradient], history: GradientHistory | None) -> dict[str, Deviation]:
    """Return how far each layer with a gradient is from what other layers and the run lead to expect."""
    levels = {gradient.name: gradient.level for gradient in gradients if gradient.level is not None}
    passing = [gradient for gradient in gradients if gradient.name in levels and not gradient.gates]
    parts = [_compare_with_layers(passing), _compare_with_run(levels, history.medians() if history else {})]
    return {
        name: Deviation(min(part[name].below for part in parts), max(part[name].above for part in parts))
        for name in levels
    }


def _compare_with_layers(gradients: list[LayerGradient]) -> dict[str, Deviation]:
    """Split each level into that of its kind, that of its site and a rest: Tukey 1977, "Exploratory Data Analysis", 11.

    The rest counts where a kind has layers at several sites. A kind or a site counts beyond SLACK.
    """
    rests = {gradient.name: gradient.level or 0.0 for gradient in gradients}
    effects = []
    groups: list[Callable[[LayerGradient], str]] = [lambda gradient: gradient.layer, lambda gradient: gradient.path]
    for group in groups * ROUNDS:
        of_group = _take_medians({gradient.name: group(gradient) for gradient in gradients}, rests)
        rests = {name: rest - of_group[name] for name, rest in rests.items()}
        effects.append(of_group)
    kinds, sites = (_add(effects[start::2], rests) for start in (0, 1))
    deviations = defaultdict(Deviation)
    counts = Counter(gradient.layer for gradient in gradients)
    compared = {gradient.name for gradient in gradients if counts[gradient.layer] >= FEWEST_SITES}
    for name in rests:
        rest = rests[name] if name in compared else 0.0
        below = [rest, *(_exceed(each[name] - median_high(each.values())) for each in (kinds, sites))]
        above = [rest, *(_exceed(each[name] - median_low(each.values())) for each in (kinds, sites))]
        deviations[name] = Deviation(min(0.0, *below), max(0.0, *above))
    return deviations


def _take_medians(groups: Mapping[str, str], levels: Levels) -> Levels:
    """Return for each layer the median of the levels in its group."""
    members: dict[str, list[float]] = defaultdict(list)
    for name, group in groups.items():
        members[group].append(levels[name])
    medians = {group: median(values) for group, values in members.items()}
    return {name: medians[group] for name, group in groups.items()}


def _add(parts: list[Levels], names: Iterable[str]) -> Levels:
    return {name: sum(part[name] for part in parts) for name in names}


def _exceed(deviation: float) -> float:
    """Return what is left of a deviation beyond SLACK."""
    return math.copysign(max(abs(deviation) - SLACK, 0.0), deviation)


def _compare_with_run(levels: Levels, medians: Levels) -> dict[str, Deviation]:
    """Compare each layer with its median over the run; a fall that most layers share counts beyond SLACK only."""
    changes = {name: levels[name] - medians[name] for name in levels if name in medians}
    common_fall = min(0.0, median(changes.values())) if changes else 0.0
    deviations = defaultdict(Deviation)
    for name, change in changes.items():
        below = min(0.0, change - common_fall, _exceed(change))
        deviations[name] = Deviation(below, max(0.0, change))
    return deviations
