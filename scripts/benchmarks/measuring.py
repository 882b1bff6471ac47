"""Two things timed in turn in one run, wall time beside CPU time, and the memory that something needs at its peak."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Sample:
    """Seconds that one run took, by the clock and in all threads of this process."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Figure:
    """One line of the report; `value` is compared with `at_most`, `details` only go into the JSON file."""

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


def timed(work: Callable[[], object], device: torch.device) -> Sample:
    synchronize(device)
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    synchronize(device)
    return Sample(time.perf_counter() - wall, time.process_time() - cpu)


def in_turn(
    contestants: Mapping[str, Callable[[], Sample | list[Sample]]], repetitions: int
) -> dict[str, list[Sample]]:
    """A B A B ..., so that whatever else the machine does meets all of them alike."""
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    for _ in range(repetitions):
        for name, run in contestants.items():
            result = run()
            samples[name] += result if isinstance(result, list) else [result]
    return samples


def compare(name: str, samples: Mapping[str, list[Sample]], at_most: float | None = None, note: str = "") -> Figure:
    """The first of two contestants over the second: ratio of the shortest runs, then of the medians and of CPU time."""
    (ours, ours_samples), (theirs, theirs_samples) = samples.items()
    ratios = {
        f"{statistic}_{clock}": _over(ours_samples, theirs_samples, clock, choose)
        for statistic, choose in (("min", min), ("median", statistics.median))
        for clock in ("wall", "cpu")
    }
    text = (
        f"{ours} {seconds(_shortest(ours_samples))} / {theirs} {seconds(_shortest(theirs_samples))} "
        f"= {ratios['min_wall']:.3f}, median {ratios['median_wall']:.3f}, "
        f"CPU time {ratios['min_cpu']:.3f}, median {ratios['median_cpu']:.3f}{note}"
    )
    raw = {who: [[sample.wall, sample.cpu] for sample in list_] for who, list_ in samples.items()}
    return Figure(name, text, ratios["min_wall"], at_most, {"ratios": ratios, "seconds_wall_cpu": raw})


def compare_memory(name: str, bytes_: Mapping[str, int], at_most: float | None = None) -> Figure:
    (ours, ours_bytes), (theirs, theirs_bytes) = bytes_.items()
    ratio = ours_bytes / theirs_bytes
    text = f"{ours} {mebibytes(ours_bytes)} / {theirs} {mebibytes(theirs_bytes)} = {ratio:.3f}"
    return Figure(name, text, ratio, at_most, {"bytes": dict(bytes_)})


def peak_memory(work: Callable[[], object], device: torch.device) -> int:
    """Bytes of tensors beyond those that were there before, at the peak of `work`, its result included.

    On CUDA the caching allocator's own count; on the CPU the running sum of every allocation and release that the
    profiler saw. Scratch space that a library takes behind PyTorch's back is in neither.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    return _peak(_allocations(profile))


def _allocations(profile: torch.profiler.profile) -> list[int]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    memory = [event for event in events if event.get("name") == "[memory]"]
    return [int(event["args"]["Bytes"]) for event in sorted(memory, key=lambda event: event["ts"])]


def _peak(changes: Iterable[int]) -> int:
    now = peak = 0
    for change in changes:
        now += change
        peak = max(peak, now)
    return peak


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms"


def mebibytes(value: float) -> str:
    return f"{value / 2**20:.0f} MiB"


def _shortest(samples: list[Sample]) -> float:
    return min(sample.wall for sample in samples)


def _over(ours: list[Sample], theirs: list[Sample], clock: str, choose: Callable[[list[float]], float]) -> float:
    return choose([getattr(s, clock) for s in ours]) / max(1e-9, choose([getattr(s, clock) for s in theirs]))
