"""A step of a long clip in context windows, over short clips, one window at a time, and the host's own handler."""

from collections.abc import Callable, Iterator

from . import Run
from .measuring import Figure, Sample, compare, in_turn, mebibytes, peak_memory, timed
from .models import compute_in, pack, random_sd15
from .step import evaluate, forget_models, plain_and_animated

LENGTH, OVERLAP, LONG = 16, 4, 64
SMALL_SIZES = (64, 128)
MEMORY_FRAMES = (64, 512, 2000)


def figures(run: Run) -> Iterator[Figure]:
    sizes = SMALL_SIZES if run.device.type == "cpu" else (*SMALL_SIZES, 256, 512)
    for dtype in run.dtypes:
        models = plain_and_animated(dtype)
        for size in sizes:
            evaluate(models["animated"], LENGTH, size, lambda step: step())
            yield from _times(run, models, size, dtype)
        models.clear()
        forget_models()
    yield from _memory(run)


def _times(run: Run, models: dict, size: int, dtype: str) -> Iterator[Figure]:
    name, moving, plain = f"{LONG} frames {size}x{size}, CFG, {dtype}", models["animated"], models["plain"]
    contests = {
        "in windows, over four clips of 16": {
            "windows": _long(run, in_windows(moving), size),
            "four clips": _four_clips(run, moving, size),
        },
        "windows together over one by one": {
            "together": _long(run, in_windows(moving), size),
            "one by one": _long(run, in_windows(moving, windows_at_once=1), size),
        },
        "our handler over the host's, no motion": {
            "ours": _long(run, in_windows(plain), size),
            "the host's": _long(run, in_windows_of_the_host(plain), size),
        },
    }
    for what, contestants in contests.items():
        yield compare(f"{name}, {what}", in_turn(contestants, run.repetitions))


def in_windows(model, **more):
    """`model` with our handler and static windows."""
    plan, windows = pack("sampling.windows.settings"), pack("sampling.windows.schedules")
    settings = plan.ContextSettings("static", windows.WindowLayout(LENGTH, OVERLAP), "pyramid", **more)
    return pack("sampling.windows.on_model").add_context_windows(model, settings)


def in_windows_of_the_host(model):
    """`model` with the host's handler and the same windows."""
    from comfy.context_windows import (
        ContextFuseMethods,
        ContextSchedules,
        IndexListContextHandler,
        get_matching_context_schedule,
        get_matching_fuse_method,
    )

    clone = model.clone()
    clone.model_options["context_handler"] = IndexListContextHandler(
        get_matching_context_schedule(ContextSchedules.STATIC_STANDARD),
        get_matching_fuse_method(ContextFuseMethods.PYRAMID),
        LENGTH,
        OVERLAP,
        causal_window_fix=False,
    )
    return clone


def _long(run: Run, model, size: int) -> Callable[[], list[Sample]]:
    def contest() -> list[Sample]:
        samples: list[Sample] = []
        evaluate(model, LONG, size, lambda step: samples.append(timed(step, run.device)))
        return samples

    return contest


def _four_clips(run: Run, model, size: int) -> Callable[[], list[Sample]]:
    def contest() -> list[Sample]:
        samples: list[Sample] = []
        evaluate(
            model, LENGTH, size, lambda step: samples.append(timed(lambda: [step() for _ in range(4)], run.device))
        )
        return samples

    return contest


def _memory(run: Run) -> Iterator[Figure]:
    """Of a narrow model, since 2,000 frames of a full one take long; all but the latents is in the windows."""
    compute_in("fp32")
    model = in_windows(random_sd15("fp32", "sd15_narrow"))
    peaks: dict[str, int] = {}
    for frames in MEMORY_FRAMES:
        evaluate(model, frames, 64, lambda step, n=frames: peaks.update({str(n): peak_memory(step, run.device)}))
    text = ", ".join(f"{frames} frames {mebibytes(peak)}" for frames, peak in peaks.items())
    yield Figure("peak memory of a step in windows, 64x64, narrow model", text, details={"bytes": peaks})
