"""Clips to train on: latents with their captions, and the check of all of them before training starts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..motion_modules.errors import LoomError

MAX_LISTED = 20  # rows of the table of faults


@dataclass(frozen=True)
class TrainingClip:
    """Latents `[frames, channels, height, width]` as a VAE of the host encodes them, and a CONDITIONING of the host."""

    name: str
    latents: torch.Tensor
    caption: str
    conditioning: list[Any]


@dataclass(frozen=True)
class TrainingClips:
    """Value of `TRAINING_CLIPS` sockets; `empty` is the CONDITIONING of an empty prompt, for text dropout."""

    clips: tuple[TrainingClip, ...]
    empty: list[Any]

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def shapes(self) -> list[torch.Size]:
        return [clip.latents.shape for clip in self.clips]


@dataclass(frozen=True)
class ClipFault:
    """A clip that cannot be trained on, and why."""

    name: str
    problem: str


def require_sound(faults: Sequence[ClipFault], total: int) -> None:
    """Raise LoomError with a table of all `faults`, among `total` clips."""
    if not faults:
        return
    width = max(len(fault.name) for fault in faults)
    rows = [f"{fault.name:<{width}}  {fault.problem}" for fault in faults[:MAX_LISTED]]
    more = [f"... and {len(faults) - MAX_LISTED} more"] if len(faults) > MAX_LISTED else []
    table = "\n".join([*rows, *more])
    raise LoomError(f"{len(faults)} of {total} clips cannot be trained on:\n{table}\nCorrect or remove them.")


def find_faults(clips: Iterable[TrainingClip], positions: int, channels: int) -> list[ClipFault]:
    """Return what makes clips unfit for a motion model with `positions` and a UNet of `channels` latent channels."""
    return [
        ClipFault(clip.name, problem) for clip in clips if (problem := _describe_problem(clip, positions, channels))
    ]


def _describe_problem(clip: TrainingClip, positions: int, channels: int) -> str:
    shape = tuple(clip.latents.shape)
    if len(shape) != 4 or shape[1] != channels:
        return f"latents of shape {list(shape)}, expected [frames, {channels}, height, width]: encode with its own VAE"
    if shape[0] < 2:
        return "1 frame, expected at least 2: lower `frame_step`, or use a longer video"
    if shape[0] > positions:
        return f"{shape[0]} frames, but the motion model has positions for {positions}: lower `clip_length`"
    if not clip.latents.isfinite().all():
        return "NaN or Inf in its latents: use a VAE in float32, such as the --fp32-vae option of ComfyUI"
    return ""
