"""Cost of a Sampling Report: steps of an animated full-size SD1.5 that is watched, over the same unwatched."""

from collections.abc import Callable, Iterator

from . import Run
from .measuring import Figure, Sample, compare, in_turn, timed
from .models import pack
from .step import evaluate, forget_models, plain_and_animated

AT_MOST = 1.05
STEPS = 4  # the first of which measures memory too
CPU_SIZES = (64, 128)
MAPS = {"attention_maps": True}


def figures(run: Run) -> Iterator[Figure]:
    sizes = CPU_SIZES if run.device.type == "cpu" else run.sizes
    for dtype in run.dtypes:
        models = plain_and_animated(dtype)
        moving = models["animated"]
        for size in sizes:
            evaluate(moving, run.frames, size, lambda step: step())
            yield from _compare(run, moving, size, dtype)
        models.clear()
        forget_models()


def _compare(run: Run, moving, size: int, dtype: str) -> Iterator[Figure]:
    name = f"{STEPS} steps {size}x{size}, {run.frames} frames, CFG, {dtype}"
    for what, settings, at_most in (("report", {}, AT_MOST), ("report with attention maps", MAPS, None)):
        contestants = {"on": _steps(run, watched(moving, **settings), size), "off": _steps(run, moving, size)}
        in_turn(contestants, 1 if run.device.type == "cuda" else 0)
        yield compare(f"{name}, {what}", in_turn(contestants, run.repetitions), at_most)


def watched(model, **settings):
    report = pack("inspection.report.sampling_report")
    return report.add_sampling_report(model, report.ReportSettings(**settings))[0]


def _steps(run: Run, model, size: int) -> Callable[[], Sample]:
    def contest() -> Sample:
        samples: list[Sample] = []
        evaluate(model, run.frames, size, lambda step: samples.append(timed(lambda: _repeat(step), run.device)))
        return samples[0]

    return contest


def _repeat(step: Callable[[], object]) -> None:
    for _ in range(STEPS):
        step()
