"""The flow of a video, for noise that moves with it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from comfy.model_management import load_model_gpu
from comfy.model_patcher import ModelPatcher

from ...motion_modules.errors import LoomError

Estimate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

LONGEST = 512  # pixels of the longer side at which flow is estimated
SHORTEST = 128  # pixels of the shorter side that RAFT needs
MULTIPLE = 8
PAIRS = 8  # pairs of frames at a time


def measure_flows(images: torch.Tensor, estimate: Estimate) -> torch.Tensor:
    """Return `[frames - 1, 2, height, width]`, x then y: where the pixels of each frame were in the frame before.

    `images` are `[frames, height, width, channels]` from 0 to 1. `estimate(first, second)` returns
    the flow from pictures `[pairs, 3, height, width]` to others.
    """
    if len(images) < 2:
        raise LoomError(
            f"`images` of Video Noise has {len(images)} frame, but motion needs at least 2. Connect all frames of a "
            "video."
        )
    frames = _resize(images[..., :3].movedim(-1, 1).float())
    flows = [
        estimate(frames[start + 1 : start + PAIRS + 1], frames[start:-1][:PAIRS])
        for start in range(0, len(frames) - 1, PAIRS)
    ]
    return torch.cat([flow.float().cpu() for flow in flows])


def estimate_by_model(optical_flow: ModelPatcher) -> Estimate:
    """Return the estimate of the host's OPTICAL_FLOW, a RAFT of torchvision."""
    load_model_gpu(optical_flow)
    device = optical_flow.load_device

    @torch.no_grad()
    def estimate(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return optical_flow.model(first.to(device) * 2 - 1, second.to(device) * 2 - 1)[-1]

    return estimate


def _resize(frames: torch.Tensor) -> torch.Tensor:
    """Bring the sides between SHORTEST and LONGEST where possible, to multiples of MULTIPLE."""
    height, width = frames.shape[2:]
    scale = max(min(1.0, LONGEST / max(height, width)), SHORTEST / min(height, width))
    size = [max(SHORTEST, round(side * scale / MULTIPLE) * MULTIPLE) for side in (height, width)]
    return F.interpolate(frames, size=size, mode="bilinear", antialias=True) if size != [height, width] else frames
