"""A sampling step of a full-size SD1.5 with fresh motion modules of each architecture, over AnimateDiff's own."""

from collections.abc import Iterator

from host.in_process import pack

from . import Run
from .measuring import Figure
from .models import compute_in, random_sd15
from .step import Steps, animate, compare_steps, evaluate, forget_models

USUAL = "temporal_transformer"
CPU_SIZES = (64,)  # seconds for a step of every architecture


def figures(run: Run) -> Iterator[Figure]:
    sizes = CPU_SIZES if run.device.type == "cpu" else run.sizes
    for dtype in run.dtypes:
        compute_in(dtype)
        plain = random_sd15(dtype)
        for key in pack("motion_modules.architectures.registry").architectures().usable:
            if key != USUAL:
                yield from (_compare(run, plain, key, size, dtype) for size in sizes)
                forget_models()


def _compare(run: Run, plain, key: str, size: int, dtype: str) -> Figure:
    untrained = pack("motion_modules.files.untrained")
    clip = untrained.TargetClip(run.frames, height=size, width=size)
    motion_models = {name: untrained.create_motion_model(plain, name, clip) for name in (key, USUAL)}
    models = {name: animate(plain, motion_model) for name, motion_model in motion_models.items()}
    for model in models.values():
        evaluate(model, run.frames, size, lambda step: step())
    sites, usual_sites = (len(motion_model.specs) for motion_model in motion_models.values())
    note = "" if sites == usual_sites else f", at {sites} sites instead of {usual_sites}"
    contestants = {name: Steps(run, model, run.frames, size) for name, model in models.items()}
    return compare_steps(
        f"step {size}x{size}, {run.frames} frames, CFG, {dtype}", contestants, run.repetitions, note=note
    )
