"""Where the time of a sampling step goes, by kinds of operations, animated beside plain."""

import re
from collections import defaultdict
from collections.abc import Iterator

import torch

from . import Run
from .measuring import Figure, seconds, timed
from .step import evaluate, plain_and_animated

KINDS = {
    "attention": r"attention|flash|fmha|softmax",
    "matrix products": r"mm$|bmm|linear|matmul|einsum",
    "convolutions": r"conv|cudnn",
    "norms": r"norm",
    "copies": r"copy|cat$|clone|contiguous|_to_|empty|fill|zero|pad|upsample|resize",
    "activations": r"gelu|silu",
    "sums and products": r"add|mul|sub|div",
}
LARGEST = 12
WHOLE_STEP = "the whole step by the clock, unobserved"


def figures(run: Run) -> Iterator[Figure]:
    dtype, size = run.dtypes[-1], run.sizes[-1] if run.device.type == "cuda" else run.sizes[0]
    profiles = {who: _profile(run, model, size) for who, model in plain_and_animated(dtype).items()}
    name = f"profile {size}x{size}, {run.frames} frames, {dtype}"
    clock = "GPU time" if run.device.type == "cuda" else "elapsed time"
    for title, table in (("by kind", _by_kind(profiles)), ("largest operations", _largest(profiles))):
        rows = [f"{row:<60.60}" + "".join(f"{who} {seconds(value):>9}  " for who, value in cells.items())
                for row, cells in table.items()]  # fmt: skip
        yield Figure(f"{name}, {title}, {clock}", "\n  " + "\n  ".join(rows), details=table)


def _profile(run: Run, model, size: int) -> dict[str, float]:
    """Seconds of each operation by itself, and of the whole step by the clock when nobody watches."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if run.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    times: dict[str, float] = {}

    def watch(step) -> None:
        if run.device.type == "cuda":
            timed(step, run.device)
            times[WHOLE_STEP] = timed(step, run.device).wall
        with torch.profiler.profile(activities=activities) as profile:
            timed(step, run.device)
        times.update(_own_times(profile, run.device))

    evaluate(model, run.frames, 64, lambda step: step())
    evaluate(model, run.frames, size, watch)
    return times


def _own_times(profile: torch.profiler.profile, device: torch.device) -> dict[str, float]:
    clock = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    operations = [entry for entry in profile.key_averages() if entry.key.startswith("aten::")]
    return {entry.key: getattr(entry, clock) / 1e6 for entry in operations if getattr(entry, clock) > 0}


def _by_kind(profiles: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(profiles, 0.0))
    for who, times in profiles.items():
        for operation, time in times.items():
            table[_kind(operation)][who] += time
    return dict(sorted(table.items(), key=lambda row: -max(row[1].values())))


def _largest(profiles: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    names = {
        name: max(times.get(name, 0.0) for times in profiles.values()) for times in profiles.values() for name in times
    }
    largest = sorted((name for name in names if "::" in name), key=lambda name: -names[name])[:LARGEST]
    return {name: {who: times.get(name, 0.0) for who, times in profiles.items()} for name in largest}


def _kind(operation: str) -> str:
    if "::" not in operation:
        return operation
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, operation)), "everything else")
