"""A run of a sampler as text and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from ...motion_modules.unet.site_patterns import short_name
from ...motion_modules.watching.attention_maps import AttentionMap
from .run import ReportRun
from .statistics import SiteRecord, StepTotals

FORMAT = 1
NOTHING_RAN = "No motion module ran: this model has none, or none is active."


def describe(run: ReportRun) -> str:
    """Return a text summary of a run: its settings, the first NaN or Inf, and a line for each motion module."""
    lines = [_describe_run(run), run.bad.describe() if run.bad else "No NaN or Inf in any motion module or prediction."]
    if not run.records:
        lines.append(NOTHING_RAN)
    for motion in run.motions:
        lines.append(f"\n{motion}: mean, deviation, largest value in -> out, change of the input, time, peak memory")
        lines += [_describe_site(record) for record in run.records.values() if record.motion == motion]
    return "\n".join(lines)


def to_json(run: ReportRun) -> str:
    """Return all statistics of a run, by site and step, as JSON; NaN and Inf are null."""
    facts = run.facts
    content = {
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
        "sites": [_site_as_json(record) for record in run.records.values()],
        "attention_maps": [_map_as_json(run, attention_map) for attention_map in run.maps],
    }
    return json.dumps(content, allow_nan=False)


def _describe_run(run: ReportRun) -> str:
    facts = run.facts
    seed = "" if facts.seed is None else f", seed {facts.seed}"
    return (
        f"Run {run.number}, {run.state}: {facts.frames} frames, latent {facts.width} x {facts.height}, {facts.steps} "
        f"steps, {run.evaluations} evaluations{seed}, {run.seconds:.1f} s"
    )


def _describe_site(record: SiteRecord) -> str:
    total = record.total()
    numbers = {name: _format(value) for name, value in total.numbers().items()}
    change = total.numbers()["change"]
    return (
        f"{short_name(record.site)}: {numbers['mean_in']}, {numbers['deviation_in']}, {numbers['largest_in']} -> "
        f"{numbers['mean_out']}, {numbers['deviation_out']}, {numbers['largest_out']}; change "
        f"{'-' if change is None else f'{change:.1%}'}; {_describe_cost(record, total)}"
    )


def _describe_cost(record: SiteRecord, total: StepTotals) -> str:
    time = "-" if total.milliseconds is None else f"{total.milliseconds:.1f} ms per call"
    memory = "-" if record.peak_bytes is None else f"{record.peak_bytes / 2**20:.1f} MiB"
    return f"{time}; {memory}"


def _site_as_json(record: SiteRecord) -> Mapping[str, object]:
    steps = [{"step": step, "calls": sums.calls, **sums.numbers()} for step, sums in sorted(record.steps.items())]
    total = record.total().numbers()
    return {"motion": record.motion, "site": record.site, "peak_bytes": record.peak_bytes, **total, "steps": steps}


def _map_as_json(run: ReportRun, attention_map: AttentionMap) -> Mapping[str, object]:
    finite = bool(attention_map.weights.isfinite().all())
    weights = [[[round(value, 4) for value in row] for row in head] for head in attention_map.weights.tolist()]
    return {
        "motion": run.name_motion(attention_map.owner),
        "site": attention_map.site,
        "attention": attention_map.attention,
        "reach": attention_map.reach if finite else None,
        "weights": weights if finite else None,
    }


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
