"""A step of a long clip in context windows, over short clips, one window at a time, and the host's own handler."""

from collections.abc import Iterator
from typing import Any

from host.in_process import pack

from . import Run
from .measuring import TOLERANCES, Figure, mebibytes, peak_memory, require_agreement
from .models import compute_in, random_sd15
from .step import Steps, compare_steps, evaluate, forget_models, make_models

LENGTH, OVERLAP, LONG = 16, 4, 64
SMALL_SIZES = (64, 128)
MEMORY_FRAMES = (64, 512, 2000)
MEMORY_SIZES, TILE, TILE_OVERLAP = (64, 128, 256), 64, 16


def figures(run: Run) -> Iterator[Figure]:
    sizes = SMALL_SIZES if run.device.type == "cpu" else (*SMALL_SIZES, 256, 512)
    for dtype in run.dtypes:
        models = make_models(dtype)
        for size in sizes:
            evaluate(models["animated"], LENGTH, size, lambda step: step())
            yield from _compare(run, models, size, dtype)
        models.clear()
        forget_models()
    yield _memory()
    yield _memory_in_tiles()


def _compare(run: Run, models: dict[str, Any], size: int, dtype: str) -> Iterator[Figure]:
    animated, plain = models["animated"], models["plain"]
    name = f"{LONG} frames {size}x{size}, CFG, {dtype}"

    def long(model) -> Steps:
        return Steps(run, model, LONG, size)

    four_clips = {"windows": long(add_windows(animated)), "four clips": Steps(run, animated, LENGTH, size, count=4)}
    yield compare_steps(f"{name}, in windows, over four clips of {LENGTH}", four_clips, run.repetitions)
    same_results = {
        "windows together over one by one": {
            "together": long(add_windows(animated)),
            "one by one": long(add_windows(animated, windows_at_once=1)),
        },
        "our handler over the host's, no motion": {
            "ours": long(add_windows(plain)),
            "the host's": long(add_host_windows(plain)),
        },
    }
    for subject, contestants in same_results.items():
        yield compare_steps(f"{name}, {subject}", contestants, run.repetitions)
        results = {who: steps.result for who, steps in contestants.items()}
        require_agreement(f"{name}, {subject}", results, TOLERANCES[dtype])


def add_windows(model, **more):
    """`model` with our handler and static windows."""
    plan, windows = pack("sampling.windows.settings"), pack("sampling.windows.schedules")
    settings = plan.ContextSettings("static", windows.WindowLayout(LENGTH, OVERLAP), "pyramid", **more)
    return pack("sampling.windows.on_model").add_context_windows(model, settings)


def add_host_windows(model):
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


def _memory() -> Figure:
    """Measure a narrow model, since 2,000 frames of a full one take long.

    Only the latents are outside of windows.
    """
    compute_in("fp32")
    model = add_windows(random_sd15("fp32", "sd15_narrow"))
    peaks = {frames: evaluate(model, frames, 64, peak_memory) for frames in MEMORY_FRAMES}
    text = ", ".join(f"{frames} frames {mebibytes(peak)}" for frames, peak in peaks.items())
    return Figure("peak memory of a step in windows, 64x64, narrow model", text, details={"bytes": peaks})


def _memory_in_tiles() -> Figure:
    """Measure a narrow model on pictures of several sizes, with and without tiles of the smallest one."""
    compute_in("fp32")
    model, tiles = random_sd15("fp32", "sd15_narrow"), pack("sampling.windows.tiles").TileLayout(TILE, TILE_OVERLAP)
    models = {"in tiles": add_windows(model, tiles=tiles), "without": add_windows(model)}
    peaks = {
        name: {size: evaluate(each, LENGTH, size, peak_memory) for size in MEMORY_SIZES}
        for name, each in models.items()
    }
    text = "; ".join(
        f"{name} " + ", ".join(f"{size} px {mebibytes(peak)}" for size, peak in by_size.items())
        for name, by_size in peaks.items()
    )
    return Figure(f"peak memory of a step, {LENGTH} frames, tiles of {TILE} px, narrow model", text, details=peaks)
