"""Sampling steps of an animated full-size SD1.5 with a Sampling Report, over the same steps without."""

from collections.abc import Iterator

from host.in_process import pack

from . import Run
from .measuring import TOLERANCES, Figure, require_agreement
from .step import Steps, compare_steps, evaluate, forget_models, make_models

AT_MOST = 1.05
STEPS = 4  # the first of which measures memory too
CPU_SIZES = (64, 128)


def figures(run: Run) -> Iterator[Figure]:
    sizes = CPU_SIZES if run.device.type == "cpu" else run.sizes
    for dtype in run.dtypes:
        models = make_models(dtype)
        animated = models["animated"]
        for size in sizes:
            evaluate(animated, run.frames, size, lambda step: step())
            yield _compare(run, animated, size, dtype, "report", AT_MOST)
            yield _compare(run, animated, size, dtype, "report with attention maps", attention_maps=True)
        models.clear()
        forget_models()


def _compare(
    run: Run, model, size: int, dtype: str, subject: str, at_most: float | None = None, **settings: bool
) -> Figure:
    name = f"{STEPS} steps {size}x{size}, {run.frames} frames, CFG, {dtype}, {subject}"
    models = {"on": add_report(model, **settings), "off": model}
    contestants = {who: Steps(run, other, run.frames, size, STEPS) for who, other in models.items()}
    figure = compare_steps(name, contestants, run.repetitions, at_most)
    require_agreement(name, {who: steps.result for who, steps in contestants.items()}, TOLERANCES[dtype])
    return figure


def add_report(model, **settings: bool):
    report = pack("inspection.report.sampling_report")
    return report.add_sampling_report(model, report.ReportSettings(**settings))[0]
