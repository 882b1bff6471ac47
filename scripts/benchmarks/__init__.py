"""What `scripts/benchmark.py` measures, a file per subject."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Run:
    """What is asked of every benchmark."""

    host: Path
    device: torch.device
    dtypes: tuple[str, ...]
    sizes: tuple[int, ...]
    frames: int
    repetitions: int
