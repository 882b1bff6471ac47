"""What motion modules did in one run of a sampler, step by step."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...motion_modules.errors import LoomError
from ...motion_modules.watching.attention_maps import AttentionMap
from ...motion_modules.watching.observer import (
    CHANGE,
    LARGEST_IN,
    LARGEST_OUT,
    MEAN_IN,
    MEAN_OUT,
    NORM_IN,
    NORM_OUT,
    Observer,
    Reading,
)
from ...sampling.steps import step_number

ADVICE = "look at the checkpoint, its LoRAs, the conditioning and the precision, since fp16 overflows"
RUNNING, COMPLETE, FAILED, INTERRUPTED = "running", "complete", "failed", "interrupted"


@dataclass(frozen=True)
class RunFacts:
    """What was sampled: `sigmas` of the sampler, one more than it has steps, and names of motion models by key."""

    frames: int
    height: int
    width: int
    sigmas: Any
    seed: int | None
    motions: Mapping[str, str]

    @property
    def steps(self) -> int:
        return max(0, len(self.sigmas) - 1)


@dataclass(frozen=True)
class BadValue:
    """The first NaN or Inf: `made_here` when the motion module made it, else it came in with its input. Without a
    `site` it was in what the model predicted, behind the last motion module.
    """

    kind: str
    motion: str
    site: str
    step: int
    frame: int
    made_here: bool

    def sentence(self) -> str:
        """One sentence that says where, and what to do."""
        where = f"of step {self.step} at frame {self.frame}"
        if not self.site:
            return (
                f"The first {self.kind} {where} was in the model's prediction, behind its last motion module: {ADVICE}."
            )
        if self.made_here:
            return (
                f"The motion module '{self.site}' of '{self.motion}' made the first {self.kind} {where}: lower its "
                "strength, run ComfyUI in fp32 or bf16, or take another file."
            )
        return (
            f"The first {self.kind} {where} came to the motion module '{self.site}' of '{self.motion}' from the layers "
            f"of the model before it: {ADVICE}."
        )


@dataclass
class Sums:
    """Of one site in one step, over frames, prompts, windows and evaluations; squares are those of single values."""

    rows: int = 0
    mean_in: float = 0.0
    mean_out: float = 0.0
    square_in: float = 0.0
    square_out: float = 0.0
    square_change: float = 0.0
    largest_in: float = 0.0
    largest_out: float = 0.0
    seconds: float | None = None
    calls: int = 0

    def add(self, reading: Reading) -> None:
        numbers = reading.numbers.double()
        sums, largest = numbers.sum(dim=1).tolist(), numbers.amax(dim=1).tolist()
        squares = (numbers.square().sum(dim=1) / reading.values).tolist()
        self.rows += numbers.shape[1]
        self.calls += 1
        self.mean_in += sums[MEAN_IN]
        self.mean_out += sums[MEAN_OUT]
        self.square_in += squares[NORM_IN]
        self.square_out += squares[NORM_OUT]
        self.square_change += squares[CHANGE]
        self.largest_in = _larger(self.largest_in, largest[LARGEST_IN])
        self.largest_out = _larger(self.largest_out, largest[LARGEST_OUT])
        if reading.seconds is not None:
            self.seconds = (self.seconds or 0.0) + reading.seconds

    def plus(self, other: "Sums") -> "Sums":
        """Both together, for a site over several steps."""
        added = {name: getattr(self, name) + getattr(other, name) for name in _ADDED}
        seconds = None if self.seconds is None or other.seconds is None else self.seconds + other.seconds
        largest_in = _larger(self.largest_in, other.largest_in)
        return Sums(
            **added, seconds=seconds, largest_in=largest_in, largest_out=_larger(self.largest_out, other.largest_out)
        )

    @property
    def milliseconds(self) -> float | None:
        """Of one call, where there was a clock."""
        return None if self.seconds is None else self.seconds / max(1, self.calls) * 1000

    def numbers(self) -> dict[str, float | None]:
        """Mean, deviation, largest absolute value in and out; `change` is |out - in| / |in|; NaN and Inf are None."""
        mean_in, mean_out = self.mean_in / self.rows, self.mean_out / self.rows
        found = {
            "mean_in": mean_in,
            "deviation_in": _root(self.square_in / self.rows - mean_in**2),
            "largest_in": self.largest_in,
            "mean_out": mean_out,
            "deviation_out": _root(self.square_out / self.rows - mean_out**2),
            "largest_out": self.largest_out,
            "change": _root(self.square_change / self.square_in) if self.square_in else 0.0,
            "seconds": self.seconds,
        }
        return {name: value if value is not None and math.isfinite(value) else None for name, value in found.items()}


_ADDED = ("rows", "mean_in", "mean_out", "square_in", "square_out", "square_change", "calls")


@dataclass
class SiteRecord:
    """One motion module over the run: sums by step, and the peak of its memory in the first evaluation."""

    motion: str
    site: str
    steps: dict[int, Sums] = field(default_factory=dict)
    peak_bytes: int | None = None

    def add(self, reading: Reading, step: int) -> None:
        self.steps.setdefault(step, Sums()).add(reading)
        if reading.peak_bytes is not None:
            self.peak_bytes = max(self.peak_bytes or 0, reading.peak_bytes)

    def total(self) -> Sums:
        whole = Sums(seconds=0.0)
        for sums in self.steps.values():
            whole = whole.plus(sums)
        return whole


class ReportRun:
    """Fills while a sampler runs, and belongs to that run alone."""

    def __init__(self, facts: RunFacts, observer: Observer, number: int = 1):
        self.facts, self.observer, self.number = facts, observer, number
        self.began, self.seconds = time.time(), 0.0
        self.state, self.problem = RUNNING, ""
        self.evaluations = 0
        self.records: dict[tuple[str, str], SiteRecord] = {}
        self.bad: BadValue | None = None
        self.maps: Sequence[AttentionMap] = ()
        self.fingerprint: tuple[float, ...] = ()

    def evaluated(self, sigma: float, predicted: torch.Tensor) -> None:
        """To be called after each evaluation of the model, which predicted a clip at noise level `sigma`."""
        step = step_number(sigma, self.facts.sigmas)
        for reading in self.observer.collect():
            key = (reading.owner, reading.site)
            if key not in self.records:
                self.records[key] = SiteRecord(self.facts.motions.get(reading.owner, reading.owner), reading.site)
            self.records[key].add(reading, step)
            self.bad = self.bad or _bad_value(reading, self.records[key].motion, step)
        self.bad = self.bad or _bad_prediction(predicted, step)
        self.evaluations += 1
        self.observer.measures_memory = False

    def stop_if_bad(self) -> None:
        if self.bad:
            raise LoomError(self.bad.sentence())

    def end(self, state: str, problem: str = "") -> None:
        self.state, self.problem = state, problem
        self.seconds = time.time() - self.began
        self.maps = self.observer.attention_maps()


def _bad_value(reading: Reading, motion: str, step: int) -> BadValue | None:
    if reading.numbers[[LARGEST_IN, LARGEST_OUT]].isfinite().all():
        return None
    for row, made_here in ((LARGEST_IN, False), (LARGEST_OUT, True)):
        broken = (~reading.numbers[row].isfinite()).nonzero()
        if len(broken):
            place = int(broken[0])
            kind = "NaN" if math.isnan(float(reading.numbers[row, place])) else "Inf"
            return BadValue(kind, motion, reading.site, step, reading.frames[place], made_here)
    return None


def _bad_prediction(predicted: torch.Tensor, step: int) -> BadValue | None:
    sums = predicted.flatten(1).sum(dim=1).cpu() if predicted.ndim > 1 else predicted[None].cpu()
    broken = (~sums.isfinite()).nonzero()
    if not len(broken):
        return None
    frame = int(broken[0])
    kind = "NaN" if predicted[frame].isnan().any() else "Inf"
    return BadValue(kind, "", "", step, frame, made_here=False)


def _larger(one: float, other: float) -> float:
    """The larger one, or the one that is no number."""
    return one if math.isnan(one) or one > other else other


def _root(square: float) -> float:
    return math.sqrt(max(0.0, square)) if math.isfinite(square) else square
