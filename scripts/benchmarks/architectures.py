"""A sampling step of a full-size SD1.5 with fresh motion modules of each architecture, over AnimateDiff's own."""

from collections.abc import Iterator

from . import Run
from .measuring import Figure, compare, in_turn
from .models import compute_in, pack, random_sd15
from .step import evaluate, forget_models, step_samples

USUAL = "temporal_transformer"
CPU_SIZES = (64,)  # a step of all architectures in seconds


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
    contestants = {name: _animated(plain, motion_model) for name, motion_model in motion_models.items()}
    for model in contestants.values():
        evaluate(model, run.frames, size, lambda step: step())
    steps = {name: lambda model=model: step_samples(run, model, size) for name, model in contestants.items()}
    sites, usual_sites = (len(motion_model.specs) for motion_model in motion_models.values())
    note = "" if sites == usual_sites else f", at {sites} sites instead of {usual_sites}"
    name = f"step {size}x{size}, {run.frames} frames, CFG, {dtype}"
    return compare(name, in_turn(steps, run.repetitions), note=note)


def _animated(plain, motion_model):
    return pack("sampling.animate").animate(plain, motion_model, pack("motion_modules.unet.applied").MotionSettings())
