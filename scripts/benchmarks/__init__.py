"""Measurements of `scripts/benchmark.py`, a file per subject."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Run:
    """Settings that all benchmarks share."""

    host: Path
    device: torch.device
    dtypes: tuple[str, ...]
    sizes: tuple[int, ...]
    frames: int
    repetitions: int
