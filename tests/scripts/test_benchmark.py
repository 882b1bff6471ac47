"""Benchmarks judge by the median of alternations and by CPU time on a CPU, and fail when results differ."""

import benchmark
import pytest
import torch
from benchmarks import measuring
from benchmarks.measuring import Figure, ResultsDiffer, Sample, alternate, compare, compare_memory, require_agreement

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def samples(*times: float, wall: float = 1.0) -> list[Sample]:
    return [Sample(wall, time) for time in times]


def test_contestants_alternate():
    order = []
    contestants = {name: lambda name=name: order.append(name) or Sample(1.0, 1.0) for name in "ab"}
    assert {name: len(list_) for name, list_ in alternate(contestants, 3).items()} == {"a": 3, "b": 3}
    assert "".join(order) == "ababab"


def test_a_ratio_is_the_median_of_alternations_not_the_shortest_time():
    figure = compare("x", {"ours": samples(2.0, 2.0, 0.1), "theirs": samples(1.0, 1.0, 1.0)}, CPU)
    assert figure.value == 2.0


def test_a_machine_that_slows_down_changes_no_ratio():
    figure = compare("x", {"ours": samples(1.0, 2.0, 4.0), "theirs": samples(2.0, 4.0, 8.0)}, CPU)
    assert figure.value == 0.5


@pytest.mark.parametrize(("device", "ratio", "clock"), [(CPU, 0.5, "cpu"), (CUDA, 3.0, "wall")])
def test_cpu_time_judges_on_a_cpu_and_wall_time_on_a_gpu(device: torch.device, ratio: float, clock: str):
    contestants = {"ours": samples(1.0, 1.0, wall=3.0), "theirs": samples(2.0, 2.0, wall=1.0)}
    figure = compare("x", contestants, device, at_most=1.0)
    assert figure.value == ratio
    assert f"{ratio:.3f} by {clock} time" in str(figure)
    assert str(figure).endswith("(at most 1: reached)" if ratio <= 1 else "(at most 1: MISSED)")


def test_contestants_with_different_numbers_of_samples_are_refused():
    with pytest.raises(ValueError, match="longer"):
        compare("x", {"ours": samples(1.0), "theirs": samples(1.0, 1.0)}, CPU)


def test_a_figure_without_a_limit_has_no_verdict():
    assert str(Figure("x", "1 s")) == "x: 1 s"


def test_memory_is_a_ratio_too():
    figure = compare_memory("x", {"ours": 2**20, "theirs": 4 * 2**20}, at_most=0.5)
    assert str(figure) == "x: ours 1 MiB / theirs 4 MiB = 0.250 (at most 0.5: reached)"


def test_peak_memory_counts_tensors_that_live_at_once():
    assert measuring.peak_memory(lambda: [torch.ones(256, 1024) for _ in range(2)]) == 2 * 2**20
    assert measuring.peak_memory(lambda: sum(float(torch.ones(256, 1024)[0, 0]) for _ in range(2))) < 2 * 2**20


def test_results_within_the_tolerance_are_noted():
    result = torch.ones(100)
    assert require_agreement("x", {"a": result, "b": result.clone()}, 0.0) == ", results are identical"
    assert require_agreement("x", {"a": 1.01 * result, "b": result}, 0.02) == ", results differ by 1e-02"


@pytest.mark.parametrize("wrong", [1.1, float("nan")])
def test_results_that_differ_are_refused(wrong: float):
    with pytest.raises(ResultsDiffer, match=r"'ours' and 'theirs' differ by .+ tolerance of 1e-04"):
        require_agreement("x", {"ours": wrong * torch.ones(100), "theirs": torch.ones(100)}, 1e-4)


def test_results_that_differ_end_the_run_with_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys):
    from benchmarks import report

    def figures(run):
        yield Figure("first", "1 s")
        require_agreement("second", {"ours": torch.zeros(1), "theirs": torch.ones(1)}, 1e-4)

    monkeypatch.setattr(report, "figures", figures)
    figures_so_far = []
    with pytest.raises(SystemExit, match="second: the results of 'ours' and 'theirs' differ"):
        benchmark._measure("report", None, figures_so_far)
    assert [figure["name"] for figure in figures_so_far] == ["first"]
    assert capsys.readouterr().out == "first: 1 s\n"
