"""Frames that begin as noised pictures, each with a noise level of its own: for motion models without image input.

With d the distance of a frame to a picture of the strength s, and the reach r, the frame is held by

    h = s max(0, 1 - d / r)

of the picture that holds it most. A held frame follows that picture, noised to the level of each
step, until the part h of the sampler's timesteps is over, and is sampled freely from there:
an image to image pass of denoise 1 - h for this frame alone. With h = 1 it stays the picture.
Motion modules see held frames beside free ones from the first step on. The rule by which a mask
turns into times is that of Levin and Fried 2023, "Differential Diffusion", section 3.
"""

import torch

from .pictures import ClipPictures


def hold_frames(pictures: ClipPictures, reach: int) -> tuple[list[float], list[int]]:
    """Return how much each frame is held, 0 to 1, and the number of the picture that holds it."""
    holds: list[float] = []
    holders: list[int] = []
    for frame in range(pictures.length):
        by_picture = [
            strength * max(0.0, 1 - abs(frame - place) / reach)
            for place, strength in zip(pictures.frames, pictures.strengths, strict=True)
        ]
        strongest = max(by_picture)
        holds.append(strongest)
        holders.append(by_picture.index(strongest) if strongest else pictures.find_nearest(frame))
    return holds, holders


def release_frames(sigma: torch.Tensor, denoise_mask: torch.Tensor, extra_options: dict) -> torch.Tensor:
    """Return 1 where a frame is free at `sigma`, and 0 where it is still held. The host calls this in each step.

    `denoise_mask` has the part of the timesteps in which a place is free. `extra_options` has the
    model and the sigmas of the sampler.
    """
    sampling, sigmas = extra_options["model"].inner_model.model_sampling, extra_options["sigmas"]
    last = torch.clamp(sigmas[-1], min=float(sampling.sigma_min))
    start, end, now = (float(sampling.timestep(each)) for each in (sigmas[0], last, sigma.max()))
    remaining = (now - end) / max(start - end, 1e-6)
    return ((denoise_mask > remaining) | (denoise_mask >= 1)).to(denoise_mask.dtype)
