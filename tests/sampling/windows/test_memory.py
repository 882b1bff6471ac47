"""The memory of a step in windows is that of its windows and tiles, however long the clip and large the picture."""

import torch
from animatediff_loom.motion_modules.watching.live_memory import LiveMemory
from comfy.sample import sample_custom
from comfy.samplers import KSAMPLER

from tests.support.host import tiny_model
from tests.support.motion_models import apply_motion, apply_windows
from tests.support.sampling import prompt

SHORT, LONG, SIDE = 64, 2000, 8


def peak_of_a_step(model, frames: int, side: int = SIDE) -> int:
    """Bytes at the peak of one evaluation with CFG, beyond the latents that come in."""
    peaks: list[int] = []

    def step(model, x, sigmas, extra_args, callback, disable):
        sigma = x.new_full((len(x),), float(sigmas[0]))
        with LiveMemory() as memory:
            model(x, sigma, **extra_args)
        peaks.append(memory.peak)
        return x

    latents = torch.randn(frames, 4, side, side)
    sigmas = torch.tensor([10.0, 0.0])
    sample_custom(
        model, torch.randn_like(latents), 5.0, KSAMPLER(step), sigmas, prompt(1), prompt(2), latents, disable_pbar=True
    )
    return peaks[0]


def test_a_long_clip_needs_little_more_than_a_short_one():
    model = apply_windows(apply_motion(tiny_model()), length=16, overlap=4)
    short, long = (peak_of_a_step(model, frames) for frames in (SHORT, LONG))
    assert long <= 1.1 * short


def test_a_large_picture_in_tiles_needs_little_more_than_a_small_one():
    moving = apply_motion(tiny_model())
    tiles = {"tiles": "by size", "tile_size": 8 * SIDE, "tile_overlap": 0}
    tiled = apply_windows(moving, length=4, windows_at_once=1, tiles=tiles)
    small, large = (peak_of_a_step(tiled, 4, side) for side in (SIDE, 2 * SIDE))
    assert large <= 1.1 * small
    assert peak_of_a_step(apply_windows(moving, length=4), 4, 2 * SIDE) > 2.5 * small
