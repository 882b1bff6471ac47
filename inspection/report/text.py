"""A run of a sampler in words, and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from ...motion_modules.unet.site_patterns import short_name
from .run import ReportRun, SiteRecord, Sums

FORMAT = 1


def describe(run: ReportRun) -> str:
    """Lines for a person: the run, the first NaN or Inf, and for every site what came in, what went out, and what it
    cost."""
    lines = [_head(run), run.bad.sentence() if run.bad else "No NaN or Inf in any motion module or prediction."]
    if not run.records:
        lines.append("No motion module ran: there is none on this model, or none is active.")
    for motion in motions(run):
        lines.append(f"\n{motion}: mean, deviation, largest value in -> out, change of the input, time, peak memory")
        lines += [_line(record) for record in run.records.values() if record.motion == motion]
    return "\n".join(lines)


def to_json(run: ReportRun) -> str:
    """Everything, for every site and step; NaN and Inf are null."""
    facts = run.facts
    found = {
        "loom_sampling_report": FORMAT,
        "run": run.number,
        "state": run.state,
        "began": run.began,
        "seconds": run.seconds,
        "frames": facts.frames,
        "latent": [facts.height, facts.width],
        "seed": facts.seed,
        "sigmas": [float(sigma) for sigma in facts.sigmas],
        "evaluations": run.evaluations,
        "first_bad_value": asdict(run.bad) if run.bad else None,
        "sites": [_site(record) for record in run.records.values()],
        "attention_maps": [_map(run, number) for number in range(len(run.maps))],
    }
    return json.dumps(found, allow_nan=False)


def motions(run: ReportRun) -> list[str]:
    """The names of the motion models that ran, in their order."""
    return list(dict.fromkeys(record.motion for record in run.records.values()))


def _head(run: ReportRun) -> str:
    facts = run.facts
    seed = "" if facts.seed is None else f", seed {facts.seed}"
    return (
        f"Run {run.number}, {run.state}: {facts.frames} frames, latent {facts.width} x {facts.height}, {facts.steps} "
        f"steps, {run.evaluations} evaluations{seed}, {run.seconds:.1f} s"
    )


def _line(record: SiteRecord) -> str:
    total = record.total()
    numbers = {name: _number(value) for name, value in total.numbers().items()}
    change = total.numbers()["change"]
    return (
        f"{short_name(record.site)}: {numbers['mean_in']}, {numbers['deviation_in']}, {numbers['largest_in']} -> "
        f"{numbers['mean_out']}, {numbers['deviation_out']}, {numbers['largest_out']}; change "
        f"{'-' if change is None else f'{change:.1%}'}; {_cost(record, total)}"
    )


def _cost(record: SiteRecord, total: Sums) -> str:
    time = "-" if total.milliseconds is None else f"{total.milliseconds:.1f} ms a run"
    memory = "-" if record.peak_bytes is None else f"{record.peak_bytes / 2**20:.1f} MiB"
    return f"{time}; {memory}"


def _site(record: SiteRecord) -> Mapping[str, object]:
    steps = [{"step": step, "calls": sums.calls, **sums.numbers()} for step, sums in sorted(record.steps.items())]
    total = record.total().numbers()
    return {"motion": record.motion, "site": record.site, "peak_bytes": record.peak_bytes, **total, "steps": steps}


def _map(run: ReportRun, number: int) -> Mapping[str, object]:
    own = run.maps[number]
    weights = [[[round(value, 4) for value in row] for row in head] for head in own.weights.tolist()]
    finite = bool(own.weights.isfinite().all())
    place = {"motion": run.facts.motions.get(own.owner, own.owner), "site": own.site, "attention": own.attention}
    return {**place, "reach": own.reach if finite else None, "weights": weights if finite else None}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
