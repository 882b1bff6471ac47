"""Noise for clips longer than a context window."""

import torch


def free_noise(noise: torch.Tensor, length: int, overlap: int, seed: int) -> torch.Tensor:
    """Behind the first window, frames of noise seen before in shuffled order (Qiu et al. 2024, "FreeNoise").

    `noise` and the result are `[frames, ...]`; `length` and `overlap` are those of the context windows, in frames.
    Each frame stays white noise, while windows a whole window apart draw on the same frames.
    """
    frames, advance = len(noise), length - overlap
    generator = torch.Generator().manual_seed(seed)
    order = list(range(frames))
    for start in range(0, frames - length, advance):
        place = start + length
        count = min(advance, frames - place)
        shuffled = torch.randperm(count, generator=generator).tolist()
        order[place : place + count] = [order[start + number] for number in shuffled]
    return noise[order]
