"""Statistics of a motion module over a run, step by step."""

import math
from dataclasses import dataclass, field

from ...motion_modules.watching.observer import (
    CHANGE,
    LARGEST_IN,
    LARGEST_OUT,
    MEAN_IN,
    MEAN_OUT,
    NORM_IN,
    NORM_OUT,
    Reading,
)


@dataclass
class StepTotals:
    """Totals of one site in one step, over frames, prompts, windows and evaluations; squares are of single values."""

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
        self.largest_in = _max_or_nan(self.largest_in, largest[LARGEST_IN])
        self.largest_out = _max_or_nan(self.largest_out, largest[LARGEST_OUT])
        if reading.seconds is not None:
            self.seconds = (self.seconds or 0.0) + reading.seconds

    def __add__(self, other: "StepTotals") -> "StepTotals":
        """Merge the sums of two steps of a site."""
        added = {name: getattr(self, name) + getattr(other, name) for name in _ADDED}
        return StepTotals(
            **added,
            seconds=None if self.seconds is None or other.seconds is None else self.seconds + other.seconds,
            largest_in=_max_or_nan(self.largest_in, other.largest_in),
            largest_out=_max_or_nan(self.largest_out, other.largest_out),
        )

    @property
    def milliseconds(self) -> float | None:
        """Time of one call; None where it was not measured."""
        return None if self.seconds is None else self.seconds / max(1, self.calls) * 1000

    def numbers(self) -> dict[str, float | None]:
        """Return mean, deviation and largest absolute value of input and output, the change, and seconds.

        `change` is |out - in| / |in|. NaN and Inf become None.
        """
        mean_in, mean_out = self.mean_in / self.rows, self.mean_out / self.rows
        numbers = {
            "mean_in": mean_in,
            "deviation_in": _root(self.square_in / self.rows - mean_in**2),
            "largest_in": self.largest_in,
            "mean_out": mean_out,
            "deviation_out": _root(self.square_out / self.rows - mean_out**2),
            "largest_out": self.largest_out,
            "change": _root(self.square_change / self.square_in) if self.square_in else 0.0,
            "seconds": self.seconds,
        }
        return {name: value if value is not None and math.isfinite(value) else None for name, value in numbers.items()}


_ADDED = ("rows", "mean_in", "mean_out", "square_in", "square_out", "square_change", "calls")


@dataclass
class SiteRecord:
    """Record of a motion module over a run: sums by step, and the peak of its memory in the first evaluation."""

    motion: str
    site: str
    steps: dict[int, StepTotals] = field(default_factory=dict)
    peak_bytes: int | None = None

    def add(self, reading: Reading, step: int) -> None:
        self.steps.setdefault(step, StepTotals()).add(reading)
        if reading.peak_bytes is not None:
            self.peak_bytes = max(self.peak_bytes or 0, reading.peak_bytes)

    def total(self) -> StepTotals:
        return sum(self.steps.values(), StepTotals(seconds=0.0))


def _max_or_nan(one: float, other: float) -> float:
    """Return the larger one, or NaN if one of them is NaN."""
    return one if math.isnan(one) or one > other else other


def _root(square: float) -> float:
    return math.sqrt(max(0.0, square)) if math.isfinite(square) else square
