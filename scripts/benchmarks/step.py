"""A sampling step of a full-size SD1.5, animated over plain, as the host's guider runs it."""

from collections.abc import Callable, Iterator

import torch

from . import Run
from .measuring import Figure, Sample, compare, in_turn, mebibytes, timed
from .models import compute_in, pack, random_motion_model, random_sd15

OVERHEAD_AT_MOST = {("cpu", "fp32", 128): 1.40, ("cpu", "fp32", 256): 1.44}  # the strongest other pack
LONG_STEP = 256  # pixels: half a minute on two cores, so that two runs have to do
CFG = 7.5
Evaluate = Callable[[Callable[[], object]], object]


def figures(run: Run) -> Iterator[Figure]:
    for dtype in run.dtypes:
        models = plain_and_animated(dtype)
        for model in models.values():
            evaluate(model, run.frames, 64, lambda step: step())
        for size in run.sizes:
            yield from _compare(run, models, size, dtype)
        models.clear()
        forget_models()


def plain_and_animated(dtype: str) -> dict:
    """The animated model first, since it is the one that is compared with the other."""
    compute_in(dtype)
    plain = random_sd15(dtype)
    settings = pack("motion_modules.unet.applied").MotionSettings()
    return {"animated": pack("sampling.animate").animate(plain, random_motion_model(dtype), settings), "plain": plain}


def evaluate(model, frames: int, size: int, how: Evaluate) -> None:
    """Start sampling and hand `how` the evaluation that a step of Euler's method is made of."""
    import comfy.sample
    import comfy.samplers

    def sampler(model, x, sigmas, extra_args, callback, disable):
        sigma = x.new_full((len(x),), float(sigmas[0]))
        how(lambda: model(x, sigma, **extra_args))
        return x

    noise = torch.randn(frames, 4, size // 8, size // 8)
    positive, negative = ([[torch.randn(1, 77, 768), {}]] for _ in range(2))
    sigmas = torch.tensor([10.0, 0.0])
    comfy.sample.sample_custom(
        model, noise, CFG, comfy.samplers.KSAMPLER(sampler), sigmas, positive, negative, torch.zeros_like(noise),
        disable_pbar=True,
    )  # fmt: skip


def _compare(run: Run, models: dict, size: int, dtype: str) -> Iterator[Figure]:
    name = f"step {size}x{size}, {run.frames} frames, CFG, {dtype}"
    contestants = {who: lambda model=model: step_samples(run, model, size) for who, model in models.items()}
    if run.device.type == "cuda":
        in_turn(contestants, 1)
    repetitions = run.repetitions if run.device.type == "cuda" or size < LONG_STEP else min(2, run.repetitions)
    at_most = OVERHEAD_AT_MOST.get((run.device.type, dtype, size))
    yield compare(name, in_turn(contestants, repetitions), at_most)
    if run.device.type == "cuda":
        yield _memory(run, name, models, size)


def step_samples(run: Run, model, size: int) -> list[Sample]:
    samples: list[Sample] = []
    count = 5 if run.device.type == "cuda" else 1
    evaluate(model, run.frames, size, lambda step: samples.extend(timed(step, run.device) for _ in range(count)))
    return samples


def _memory(run: Run, name: str, models: dict, size: int) -> Figure:
    peaks: dict[str, dict[str, int]] = {}
    for who, model in models.items():
        evaluate(model, run.frames, size, lambda step, who=who: peaks.update({who: _peak(step, run.device)}))
    text = ", ".join(
        f"{who} {mebibytes(peak['all'])} of which {mebibytes(peak['activations'])} in the step"
        for who, peak in peaks.items()
    )
    return Figure(f"{name}, peak memory", text, details={"bytes": peaks})


def _peak(step: Callable[[], object], device: torch.device) -> dict[str, int]:
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    timed(step, device)
    peak = torch.cuda.max_memory_allocated(device)
    return {"all": peak, "activations": peak - before}


def forget_models() -> None:
    import comfy.model_management

    comfy.model_management.unload_all_models()
    comfy.model_management.soft_empty_cache()
