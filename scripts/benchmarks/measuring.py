"""Timing of two contestants in alternation, their memory at its peak, and a check that their results agree."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from host.in_process import pack

TOLERANCES = {"fp32": 1e-4, "bf16": 3e-2, "fp16": 5e-3}  # relative, of results that should be the same
Samples = Mapping[str, "list[Sample]"]


class ResultsDiffer(Exception):
    """Two contestants that compute the same thing do not agree."""


@dataclass(frozen=True)
class Sample:
    """Seconds of one run: wall time, and CPU time of all threads of this process."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Figure:
    """A line of the report; `value` is judged by `at_most`, and `details` go into the JSON file."""

    name: str
    text: str
    value: float | None = None
    at_most: float | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.value is None or self.at_most is None:
            return f"{self.name}: {self.text}"
        verdict = "reached" if self.value <= self.at_most else "MISSED"
        return f"{self.name}: {self.text} (at most {self.at_most:g}: {verdict})"


def measure_time(work: Callable[[], object], device: torch.device) -> Sample:
    synchronize(device)
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    synchronize(device)
    return Sample(time.perf_counter() - wall, time.process_time() - cpu)


def alternate(
    contestants: Mapping[str, Callable[[], Sample | list[Sample]]], repetitions: int
) -> dict[str, list[Sample]]:
    """Run A B A B ..., so that other work of the machine slows all contestants equally."""
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    for _ in range(repetitions):
        for name, run in contestants.items():
            result = run()
            samples[name] += result if isinstance(result, list) else [result]
    return samples


def compare(name: str, samples: Samples, device: torch.device, at_most: float | None = None, note: str = "") -> Figure:
    """Compare the first of two contestants with the second by the median ratio of their alternations.

    CPU time judges, which other programs hardly change; on a GPU it is wall time, since the CPU
    only waits.
    """
    clock, other_clock = ("cpu", "wall") if device.type == "cpu" else ("wall", "cpu")
    ratios = {name: _median_ratio(samples, name) for name in (clock, other_clock)}
    times = " / ".join(f"{who} {seconds(_median(list_, clock))}" for who, list_ in samples.items())
    text = f"{times} = {ratios[clock]:.3f} by {clock} time, {ratios[other_clock]:.3f} by {other_clock} time{note}"
    raw = {who: [[sample.wall, sample.cpu] for sample in list_] for who, list_ in samples.items()}
    return Figure(name, text, ratios[clock], at_most, {"ratios": ratios, "seconds_wall_cpu": raw})


def compare_memory(name: str, peaks: Mapping[str, int], at_most: float | None = None) -> Figure:
    (ours, our_bytes), (theirs, their_bytes) = peaks.items()
    ratio = our_bytes / their_bytes
    text = f"{ours} {mebibytes(our_bytes)} / {theirs} {mebibytes(their_bytes)} = {ratio:.3f}"
    return Figure(name, text, ratio, at_most, {"bytes": dict(peaks)})


def peak_memory(work: Callable[[], object]) -> int:
    """Return the bytes of tensors that `work` allocates, at their peak, its result included."""
    with pack("motion_modules.watching.live_memory").LiveMemory() as memory:
        work()
    return memory.peak


def require_agreement(name: str, results: Mapping[str, torch.Tensor], tolerance: float) -> str:
    """Return a note with the relative difference of two results.

    Raises ResultsDiffer where it exceeds `tolerance`.
    """
    (ours, our_result), (theirs, their_result) = results.items()
    difference = float((our_result - their_result).float().norm() / their_result.float().norm())
    if not difference <= tolerance:  # NaN differs too
        raise ResultsDiffer(
            f"{name}: the results of '{ours}' and '{theirs}' differ by {difference:.1e}, more than the tolerance of "
            f"{tolerance:.0e}. Find out why before you trust any time."
        )
    return f", results differ by {difference:.0e}" if difference else ", results are identical"


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms"


def mebibytes(value: float) -> str:
    return f"{value / 2**20:.0f} MiB"


def _median(samples: list[Sample], clock: str) -> float:
    return statistics.median(getattr(sample, clock) for sample in samples)


def _median_ratio(samples: Samples, clock: str) -> float:
    ours, theirs = samples.values()
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(getattr(our, clock) / max(1e-9, getattr(their, clock)) for our, their in pairs)
