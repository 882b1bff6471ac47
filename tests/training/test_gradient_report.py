"""The gradient report tells layers that gradients reach from those that they do not."""

import copy
import json
import math
from collections.abc import Iterator, Sequence

import pytest
import torch
from animatediff_loom.motion_modules.architectures.registry import ARCHITECTURES
from animatediff_loom.motion_modules.contract import SiteShape
from animatediff_loom.motion_modules.files.untrained import create_modules
from animatediff_loom.motion_modules.motion_model import ModuleSpec, MotionModules
from animatediff_loom.training.gradient_expectations import GradientHistory
from animatediff_loom.training.gradient_report import FAULTS, GradientLimits, GradientReport, gradient_report
from torch import nn

from tests.support.motion_models import CHANNELS, KEYS, TIME, feature_maps, motion_inputs
from tests.support.texts import expect_error

SITES = ("down_blocks.0.motion_modules.0", "mid_block.motion_modules.0", "up_blocks.3.motion_modules.2")
GRADIENTS = {"fine": 0.1, "loud": 1e6, "quiet": 1e-9, "nan": math.nan, "inf": math.inf, "unused": None}


class Layers(nn.Module):
    """A linear layer of 6 numbers for each name, with the gradient that it is given in every place."""

    def __init__(self, gradients: dict[str, float | None]):
        super().__init__()
        for name, gradient in gradients.items():
            layer = nn.Linear(2, 2)
            self.add_module(name, layer)
            for value in layer.parameters():
                value.grad = None if gradient is None else torch.full_like(value, gradient)


def fresh(key: str) -> MotionModules:
    kind = ARCHITECTURES[key]
    return create_modules(dict.fromkeys(SITES, ModuleSpec(kind, kind.config.for_site(SiteShape(CHANNELS, TIME, 8)))))


def error_of(modules: MotionModules, sites: Sequence[str]) -> torch.Tensor:
    """The gradients of the modules at `sites`, one after the other."""
    x = moved = feature_maps()
    for site in sites:
        moved = modules.by_site[site](moved, motion_inputs())
    return (moved - x.flip(0)).square().mean()


def test_every_layer_has_a_verdict():
    report = gradient_report(Layers(GRADIENTS))
    assert {group.name: group.verdict for group in report.groups} == {
        "fine": "ok",
        "loud": "exploding",
        "quiet": "vanishing",
        "nan": "NaN or Inf",
        "inf": "NaN or Inf",
        "unused": "never reached",
    }
    assert report.faulty
    fine, *_, unused = report.groups
    assert (fine.count, fine.norm, fine.largest) == (6, pytest.approx(0.1 * 6**0.5), pytest.approx(0.1))
    assert (unused.norm, unused.largest) == (None, None)


def test_the_text_begins_with_what_is_wrong_and_says_what_to_do():
    lines = gradient_report(Layers(GRADIENTS)).text().splitlines()
    assert lines[0] == "gradients of 6 layers: 2 NaN or Inf, 1 exploding, 1 never reached, 1 vanishing, 1 ok"
    assert [line.split("  ")[0] for line in lines[1:7]] == [
        *["NaN or Inf"] * 2,
        "exploding",
        "never reached",
        "vanishing",
        "ok",
    ]
    advice = dict(line.split(": ", 1) for line in lines[7:])
    assert list(advice) == [
        "NaN or Inf",
        "exploding (over 1000 times the expected gradient)",
        "never reached",
        "vanishing (zero, or under 0.0001 times the expected gradient)",
    ]
    assert "set_detect_anomaly" in advice["NaN or Inf"] and "detach()" in advice["never reached"]


def test_a_healthy_report_is_one_line():
    text = gradient_report(Layers({"one": 0.1, "two": 0.2})).text()
    assert text == "gradients of 2 layers: 2 ok, norm 0.24 to 0.49, largest value 0.2"


def test_limits_are_adjustable():
    """Layers of different kinds may differ by a hundred times more."""
    limits = GradientLimits(vanishing=0.3, exploding=4)
    report = gradient_report(Layers({"one": 1e-4, "two": 0.1, "three": 100}), limits)
    assert [group.verdict for group in report.groups] == ["vanishing", "ok", "exploding"]
    off = GradientLimits(vanishing=0, exploding=math.inf)
    assert gradient_report(Layers({"loud": 1e30, "quiet": 1e-30, "zero": 0.0}), off).counts == {"ok": 3}


@pytest.mark.parametrize(
    "limits", ((1.0, 1e3), (-1.0, 1e3), (0.1, 1.0), (math.nan, 1e3), (0.0, math.nan), ("1e-7", 1e3))
)
def test_limits_that_make_no_sense_are_refused(limits):
    with expect_error(str(limits[0]), str(limits[1]), "0 <= vanishing < 1 < exploding"):
        GradientLimits(*limits)


def test_frozen_parameters_are_not_looked_at():
    layers = Layers({"trained": 0.1, "frozen": None})
    layers.frozen.requires_grad_(False)
    assert gradient_report(layers).counts == {"ok": 1}
    with expect_error("Layers", "requires_grad_(True)"):
        gradient_report(layers.requires_grad_(False))


def test_norms_of_extreme_gradients_are_exact():
    """Squares of these overflow, or vanish, in float32."""
    loud, quiet = gradient_report(Layers({"loud": 1e30, "quiet": 1e-30})).groups
    assert (loud.norm, quiet.norm) == (pytest.approx(1e30 * 6**0.5), pytest.approx(1e-30 * 6**0.5))


def test_of_a_layer_that_is_reached_in_part_each_parameter_is_named():
    layers = Layers({"part": 0.1, "whole": 0.1})
    layers.part.bias.grad = None
    assert {group.name: group.verdict for group in gradient_report(layers).groups} == {
        "part.weight": "ok",
        "part.bias": "never reached",
        "whole": "ok",
    }


def test_data_is_json_without_nan():
    data = json.loads(json.dumps(gradient_report(Layers(GRADIENTS)).data(), allow_nan=False))
    assert data["limits"] == {"vanishing": 1e-4, "exploding": 1e3}
    assert data["counts"] == {"NaN or Inf": 2, "exploding": 1, "never reached": 1, "vanishing": 1, "ok": 1}
    assert data["groups"][3] == {
        "name": "nan",
        "site": "",
        "layer": "nan",
        "count": 6,
        "norm": None,
        "largest": None,
        "verdict": "NaN or Inf",
    }


@pytest.mark.parametrize("key", KEYS)
def test_a_fresh_module_waits_for_its_last_layer_without_an_error(key):
    modules = fresh(key)
    optimiser = torch.optim.SGD(modules.parameters(), lr=0.1)
    reports = []
    for _ in range(2):
        optimiser.zero_grad()
        error_of(modules, SITES).backward()
        reports.append(gradient_report(modules))
        optimiser.step()
    first, second = reports
    assert first.counts == {"waiting": len(first.groups) - len(SITES), "ok": len(SITES)} and not first.faulty
    assert "Not an error; it resolves in the first optimiser steps" in first.text()
    assert second.counts == {"ok": len(second.groups)}


def test_layers_of_several_sites_share_a_line():
    modules = fresh("scale_shift")
    error_of(modules, SITES[:1]).backward()
    report = gradient_report(modules)
    assert {group.site for group in report.select("never reached")} == set(SITES[1:])
    lines = [line.split("  ") for line in report.text().splitlines() if line.startswith("never reached  ")]
    layers = ["mixing", "norm", "modulation.0", "modulation.2", "proj_in", "proj_out"]
    assert sorted(line[1].strip() for line in lines) == sorted(f"scale_shift.{layer}" for layer in layers)
    assert all(line[-1].strip() == f"{SITES[1]} and 1 more" for line in lines)


def test_a_gradient_of_zero_that_no_layer_of_zeros_explains_has_vanished():
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    nn.init.constant_(module[0].bias, -100)
    module(torch.rand(3, 2)).sum().backward()
    assert [group.verdict for group in gradient_report(module).groups] == ["vanishing", "ok"]


WARM_UP = 100
SMALL = 1e-4  # about what the UNet of Loom Mini passes on to its outermost sites
BEFORE_THE_GATE = ("ff_norm", "ff.net.0.proj")


def train_steps(modules: MotionModules, steps: int, history: GradientHistory) -> Iterator[GradientReport]:
    """Train in the warm-up of Loom Mini's plan; return the report of each step before it is recorded."""
    optimiser = torch.optim.AdamW(modules.parameters(), lr=0.0)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 1e-3 * (step + 1) / WARM_UP
        optimiser.zero_grad()
        (SMALL * error_of(modules, SITES)).backward()
        yield gradient_report(modules, history=history)
        history.record(modules)
        optimiser.step()


@pytest.fixture(scope="module")
def trained_once() -> tuple[MotionModules, GradientHistory]:
    """Modules whose output projections have left zero, and the history of their run."""
    modules, history = fresh("temporal_transformer"), GradientHistory()
    for _ in train_steps(modules, 25, history):
        pass
    return modules, history


@pytest.fixture
def trained(trained_once) -> tuple[MotionModules, GradientHistory]:
    return copy.deepcopy(trained_once)


def saturate(modules: MotionModules, sites: Sequence[str]) -> set[str]:
    """Close the gates of the feed-forward layers at these sites, and return the names of the layers before them."""
    for site in sites:
        (layer,) = (part for name, part in modules.by_site[site].named_modules() if name.endswith(BEFORE_THE_GATE[1]))
        with torch.no_grad():
            layer.bias[len(layer.bias) // 2 :] = -8
    return {f"{site}.{layer}" for site in sites for layer in BEFORE_THE_GATE}


def find_faults(report: GradientReport, verdict: str) -> set[str]:
    assert not report.faulty or {*report.counts} & {*FAULTS} == {verdict}, report.text()
    return {f"{group.site}.{group.layer.partition('transformer_blocks.0.')[2]}" for group in report.select(verdict)}


@pytest.mark.parametrize("key", KEYS)
def test_a_healthy_run_in_warm_up_has_no_fault(key):
    """Gradients of the second step are far smaller than later ones, since the last layer has moved by 1e-5 only."""
    reports = list(train_steps(fresh(key), 8, GradientHistory()))
    assert not any(report.faulty for report in reports), "\n".join(report.text() for report in reports)
    assert min(group.norm or 0.0 for group in reports[1].groups) < 1e-7


@pytest.mark.parametrize("sites", (SITES[:1], SITES), ids=("one site", "all sites"))
def test_a_layer_that_vanishes_is_named(trained, sites):
    modules, history = trained
    vanished = saturate(modules, sites)
    modules.zero_grad()
    (SMALL * error_of(modules, SITES)).backward()
    assert find_faults(gradient_report(modules, history=history), "vanishing") == vanished
    if len(sites) == 1:
        assert find_faults(gradient_report(modules), "vanishing") == vanished


def test_a_layer_that_explodes_is_named(trained):
    modules, history = trained
    error = SMALL * error_of(modules, SITES)
    modules.zero_grad()
    (1e6 * error).backward(retain_graph=True)
    assert gradient_report(modules, history=history).counts == {"exploding": len(gradient_report(modules).groups)}
    (layer,) = (part for name, part in modules.by_site[SITES[1]].named_modules() if name.endswith(BEFORE_THE_GATE[1]))
    layer.weight.register_hook(lambda gradient: 1e5 * gradient)
    modules.zero_grad()
    error.backward()
    assert find_faults(gradient_report(modules), "exploding") == {f"{SITES[1]}.{BEFORE_THE_GATE[1]}"}
