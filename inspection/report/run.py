"""Record of a sampler's run: its settings, and what motion modules did."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...motion_modules.errors import LoomError
from ...motion_modules.watching.attention_maps import AttentionMap
from ...motion_modules.watching.observer import Observer
from ...sampling.steps import step_number
from .bad_values import BadValue, find_bad_prediction, find_bad_value
from .statistics import SiteRecord

RUNNING, COMPLETE, FAILED, INTERRUPTED = "running", "complete", "failed", "interrupted"


@dataclass(frozen=True)
class RunFacts:
    """Facts of a run: `sigmas` of the sampler, one more than it has steps, and names of motion models by key."""

    frames: int
    height: int
    width: int
    sigmas: Any
    seed: int | None
    motions: Mapping[str, str]

    @property
    def steps(self) -> int:
        return max(0, len(self.sigmas) - 1)


class ReportRun:
    """Record of a run, which fills while the sampler runs."""

    def __init__(self, facts: RunFacts, observer: Observer, number: int = 1):
        self.facts, self.observer, self.number = facts, observer, number
        self.began, self.seconds = time.time(), 0.0
        self.state, self.problem = RUNNING, ""
        self.evaluations = 0
        self.records: dict[tuple[str, str], SiteRecord] = {}
        self.bad: BadValue | None = None
        self.maps: Sequence[AttentionMap] = ()
        self.fingerprint: tuple[float, ...] = ()

    @property
    def motions(self) -> list[str]:
        """Names of the motion models that ran, in their order."""
        return list(dict.fromkeys(record.motion for record in self.records.values()))

    def name_motion(self, key: str) -> str:
        """Return the name of the motion model with this key."""
        return self.facts.motions.get(key, key)

    def record_evaluation(self, sigma: float, predicted: torch.Tensor) -> None:
        """Record an evaluation of the model, which predicted a clip at noise level `sigma`."""
        step = step_number(sigma, self.facts.sigmas)
        for reading in self.observer.collect():
            motion = self.name_motion(reading.owner)
            record = self.records.setdefault((reading.owner, reading.site), SiteRecord(motion, reading.site))
            record.add(reading, step)
            self.bad = self.bad or find_bad_value(reading, motion, step)
        self.bad = self.bad or find_bad_prediction(predicted, step)
        self.evaluations += 1
        self.observer.measures_memory = False

    def raise_if_bad(self) -> None:
        """Raise LoomError if there was a NaN or Inf."""
        if self.bad:
            raise LoomError(self.bad.describe())

    def end(self, state: str, problem: str = "") -> None:
        self.state, self.problem = state, problem
        self.seconds = time.time() - self.began
        self.maps = self.observer.attention_maps()
