"""A sampling step of a full-size SD1.5 as the host's guider runs it, with motion modules over without."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from host.in_process import pack

from . import Run
from .measuring import Figure, Sample, alternate, compare, measure_time, mebibytes
from .models import compute_in, random_motion_model, random_sd15

OVERHEAD_AT_MOST = {("cpu", "fp32", 128): 1.40, ("cpu", "fp32", 256): 1.44}  # the strongest other pack
LONG_STEP = 256  # pixels: half a minute on two cores, so two repetitions must do
CFG = 7.5
Step = Callable[[], torch.Tensor]


@dataclass
class Steps:
    """A contestant: each call times `count` steps of a model and keeps the `result` of the last one."""

    run: Run
    model: Any
    frames: int
    size: int
    count: int = 1
    result: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def __call__(self) -> Sample:
        return evaluate(self.model, self.frames, self.size, lambda step: measure_time(self._repeat(step), self.device))

    @property
    def device(self) -> torch.device:
        return self.run.device

    def _repeat(self, step: Step) -> Callable[[], None]:
        def work() -> None:
            for _ in range(self.count):
                self.result = step()

        return work


def figures(run: Run) -> Iterator[Figure]:
    for dtype in run.dtypes:
        models = make_models(dtype)
        for model in models.values():
            evaluate(model, run.frames, 64, lambda step: step())
        for size in run.sizes:
            yield from _compare(run, models, size, dtype)
        models.clear()
        forget_models()


def make_models(dtype: str) -> dict[str, Any]:
    """Make a plain model and an animated one, which comes first since it is compared with the other."""
    compute_in(dtype)
    plain = random_sd15(dtype)
    return {"animated": animate(plain, random_motion_model(dtype)), "plain": plain}


def animate(plain, motion_model):
    settings = pack("motion_modules.unet.applied").MotionSettings()
    return pack("sampling.animate").animate(plain, motion_model, settings)


def evaluate(model, frames: int, size: int, use: Callable[[Step], Any]) -> Any:
    """Start sampling, hand `use` the evaluation that a step of Euler's method makes, and return what it returns.

    Noise and prompts are the same in every call.
    """
    import comfy.sample
    import comfy.samplers

    returned = []

    def sampler(model, x, sigmas, extra_args, callback, disable):
        sigma = x.new_full((len(x),), float(sigmas[0]))
        returned.append(use(lambda: model(x, sigma, **extra_args)))
        return x

    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(frames, 4, size // 8, size // 8, generator=generator)
    positive, negative = ([[torch.randn(1, 77, 768, generator=generator), {}]] for _ in range(2))
    sigmas = torch.tensor([10.0, 0.0])
    comfy.sample.sample_custom(
        model, noise, CFG, comfy.samplers.KSAMPLER(sampler), sigmas, positive, negative, torch.zeros_like(noise),
        disable_pbar=True,
    )  # fmt: skip
    return returned[0]


def forget_models() -> None:
    import comfy.model_management

    comfy.model_management.unload_all_models()
    comfy.model_management.soft_empty_cache()


def compare_steps(
    name: str, contestants: dict[str, Steps], repetitions: int, at_most: float | None = None, note: str = ""
) -> Figure:
    """Time steps in alternation, after a first round on a GPU that warms it up."""
    device = next(iter(contestants.values())).device
    if device.type == "cuda":
        alternate(contestants, 1)
    return compare(name, alternate(contestants, repetitions), device, at_most, note)


def _compare(run: Run, models: dict[str, Any], size: int, dtype: str) -> Iterator[Figure]:
    name, is_gpu = f"step {size}x{size}, {run.frames} frames, CFG, {dtype}", run.device.type == "cuda"
    count = 5 if is_gpu else 1
    contestants = {who: Steps(run, model, run.frames, size, count) for who, model in models.items()}
    repetitions = run.repetitions if is_gpu or size < LONG_STEP else min(2, run.repetitions)
    yield compare_steps(name, contestants, repetitions, OVERHEAD_AT_MOST.get((run.device.type, dtype, size)))
    if is_gpu:
        yield _memory(run, name, models, size)


def _memory(run: Run, name: str, models: dict[str, Any], size: int) -> Figure:
    peaks = {
        who: evaluate(model, run.frames, size, lambda step: _gpu_peak(step, run.device))
        for who, model in models.items()
    }
    text = ", ".join(
        f"{who} {mebibytes(peak['all'])} of which {mebibytes(peak['activations'])} in the step"
        for who, peak in peaks.items()
    )
    return Figure(f"{name}, peak memory", text, details={"bytes": peaks})


def _gpu_peak(step: Step, device: torch.device) -> dict[str, int]:
    """Measure a step's memory with the weights, which live on the GPU before it begins."""
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    measure_time(step, device)
    peak = torch.cuda.max_memory_allocated(device)
    return {"all": peak, "activations": peak - before}
