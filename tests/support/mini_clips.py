"""Clips of Loom Mini in this process, by the host's sampler."""

import comfy.sample
import torch
from animatediff_loom.motion_modules.motion_model import MotionModel
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.sampling.animate import animate


def mini_latents(mini, motion_model: MotionModel, text: str, *, frames: int, steps: int, seed: int) -> torch.Tensor:
    """`[frames, 4, 8, 8]` of what LoomMiniLoader loads, `mini`; `seed` is that of the noise."""
    model, clip, _ = mini
    prompts = [clip.encode_from_tokens_scheduled(clip.tokenize(each)) for each in (text, "")]
    noise = torch.randn(frames, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    moving, empty = animate(model, motion_model, MotionSettings()), torch.zeros_like(noise)
    return comfy.sample.sample(moving, noise, steps, 4.0, "euler", "normal", *prompts, empty, disable_pbar=True, seed=1)
