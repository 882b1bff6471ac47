"""Measurements of motion modules during sampling, which stay on the device until they are collected."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch

from ..attention_tap import AttentionTap
from ..contract import MotionInputs
from ..run_state import frame_numbers
from .attention_maps import AttentionMap, AttentionMapRecorder
from .live_memory import LiveMemory

CPU_VALUES = 2**18  # a mebibyte of float32
IMAGE = (1, 2, 3)
MEAN_IN, NORM_IN, LARGEST_IN, MEAN_OUT, NORM_OUT, LARGEST_OUT, CHANGE = range(7)  # rows of a reading

Elapsed = Callable[[], float | None]
Module = Callable[[torch.Tensor, MotionInputs], torch.Tensor]  # a motion module, or what scales its change


@dataclass(frozen=True)
class Reading:
    """Measurement of a motion module on a batch of feature maps `[batch, channels, height, width]`.

    `frames` are the frame numbers in the clip of the feature maps, `values` is the number of values
    of each. `numbers` are `[7, batch]`: mean, Euclidean norm and largest absolute value of the
    input, the same of the output, and the norm of their difference; a NaN in a frame makes its
    largest value NaN. `peak_bytes` is None where it was not measured.
    """

    owner: str
    site: str
    frames: Sequence[int]
    values: int
    numbers: torch.Tensor
    clock: Elapsed
    peak_bytes: int | None

    @property
    def seconds(self) -> float | None:
        """Time that the module took, once the device has finished; None where the device has no clock."""
        return self.clock()


class Observer:
    """Observer of motion modules for one run of a sampler, which puts it into `transformer_options`."""

    def __init__(self, draws: Callable[[str], bool] | None = None):
        """Attention is drawn at the sites for which `draws` returns True, nowhere without it."""
        self.measures_memory = True
        self._maps = AttentionMapRecorder(draws)
        self.taps: tuple[AttentionTap, ...] = (self._maps,) if draws else ()
        self._pending: list[Reading] = []

    @torch.compiler.disable(recursive=False)
    def watch(
        self, owner: str, site: str, module: Module, x: torch.Tensor, inputs: MotionInputs, options: dict
    ) -> torch.Tensor:
        """Return `module(x, inputs)` and measure it; `options` are those of the host."""
        memory = LiveMemory() if self.measures_memory else None
        stop = _start_clock(x.device)
        with memory or nullcontext():
            moved = module(x, inputs)
        elapsed = stop()
        frames, numbers = frame_numbers(options, len(x), inputs.frames), _measure(x, moved)
        peak = memory.peak if memory else None
        self._pending.append(Reading(owner, site, frames, x[0].numel(), numbers, elapsed, peak))
        return moved

    def collect(self) -> list[Reading]:
        """Return the readings since the last call, in the order in which modules ran; wait for each device once."""
        pending, self._pending = self._pending, []
        fetched: dict[int, torch.Tensor] = {}
        for device in {reading.numbers.device for reading in pending}:
            indices = [index for index, reading in enumerate(pending) if reading.numbers.device == device]
            joined = torch.cat([pending[index].numbers for index in indices], dim=1).cpu()
            parts = joined.split([pending[index].numbers.shape[1] for index in indices], dim=1)
            fetched.update(zip(indices, parts, strict=True))
        return [replace(reading, numbers=fetched[index]) for index, reading in enumerate(pending)]

    def attention_maps(self) -> list[AttentionMap]:
        return self._maps.maps()


def _measure(x: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    return torch.stack([*_measure_values(x), *_measure_values(moved), _measure_change(x, moved)]).float()


def _measure_values(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return mean, norm and largest absolute value.

    The largest value comes from maximum and minimum, in a third of the time of an infinity norm on
    the CPU. NaN stays.
    """
    largest = torch.maximum(x.amax(IMAGE), -x.amin(IMAGE))
    return x.mean(IMAGE, dtype=_choose_precision(x)), _compute_norm(x), largest


def _compute_norm(x: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(x, 2, IMAGE, dtype=_choose_precision(x))


def _choose_precision(x: torch.Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _measure_change(x: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """Return the norm of the change; on the CPU of a few frames at a time, which stay in the cache."""
    at_once = max(1, CPU_VALUES // x[0].numel()) if x.device.type == "cpu" else len(x)
    parts = zip(x.split(at_once), moved.split(at_once), strict=True)
    return torch.cat([_compute_norm(after - before) for before, after in parts])


def _start_clock(device: torch.device) -> Callable[[], Elapsed]:
    """Start a clock; return a function that stops it, and returns one for the seconds once the device has finished."""
    if device.type == "cuda":
        return _start_events(device)
    began = time.perf_counter()

    def stop() -> Elapsed:
        seconds = time.perf_counter() - began if device.type == "cpu" else None
        return lambda: seconds

    return stop


def _start_events(device: torch.device) -> Callable[[], Elapsed]:
    """Start CUDA's own clock, so that nothing has to wait for the device."""
    stream, began, ended = torch.cuda.current_stream(device), *(torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record(stream)

    def stop() -> Elapsed:
        ended.record(stream)
        return lambda: began.elapsed_time(ended) / 1000

    return stop
