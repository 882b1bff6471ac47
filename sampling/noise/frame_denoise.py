"""Denoise strength of each frame, as a noise mask: for a video that changes more and more, or less and less.

With the host's Differential Diffusion on the MODEL, a frame with the value v is kept in the first
part of the steps and denoised in the last v of them (Levin & Fried 2023, "Differential Diffusion").
The node Denoise per Frame calls `mask_frames`.
"""

from collections.abc import Sequence
from typing import Any

import torch

from ...motion_modules.errors import LoomError
from ..steering.curves import WrittenPoint, draw_curve

NOISE_MASK = "noise_mask"
KEPT = -1e-6  # for 0: Differential Diffusion denoises all places from 0 on, and from -0.0 on, in the last step


def mask_frames(latent: dict[str, Any], curve: Sequence[WrittenPoint]) -> dict[str, Any]:
    """Return a LATENT whose noise mask has the value of `curve` at each frame, times that of a mask that it has.

    Raises LoomError for values above 1, for a mask of another number of frames, and for a latent of a video model.
    """
    samples = latent["samples"]
    if samples.ndim != 4:
        raise LoomError(
            f"The latent has the shape {list(samples.shape)}, but Denoise per Frame needs a batch of images [frames, "
            "channels, height, width]. Connect a latent of an AnimateDiff clip, such as that of VAE Encode."
        )
    values = _draw_values(curve, len(samples))
    mask = latent.get(NOISE_MASK)
    if mask is None:
        mask = torch.ones(1, 1, *samples.shape[-2:])
    mask = mask.reshape(-1, 1, *mask.shape[-2:])
    if len(mask) not in (1, len(samples)):
        raise LoomError(
            f"The noise mask of `latent` has {len(mask)} frames, but the clip has {len(samples)}. "
            f"Provide {len(samples)} masks, or one for all frames."
        )
    product = mask * values.to(mask).view(-1, 1, 1, 1)
    return {**latent, NOISE_MASK: product.masked_fill(product <= 0, KEPT)}


def _draw_values(curve: Sequence[WrittenPoint], frames: int) -> torch.Tensor:
    if not curve:
        raise LoomError("`frame_curve` of Denoise per Frame is empty. Write a strength, such as `0: 0.5`.")
    largest = max(point.value for point in curve)
    if largest > 1:
        raise LoomError(
            f"`frame_curve` of Denoise per Frame has the value {largest:g}, but a strength is 0 to 1. "
            "Use 1 for frames that are denoised in all steps."
        )
    return torch.tensor(draw_curve(curve, frames))
