"""White noise that depends on a seed and on names or numbers, and not on the length of a clip."""

import hashlib
from collections.abc import Iterator, Sequence

import torch

TILE = 64  # pixels: a plane is drawn in squares, so that a cut of it does not depend on the rest
SEEDS = 2**64
COMPARED_VALUES = 8  # of a frame, by which it is recognised
MOST_FRAMES = 1024  # drawn in search of a frame, in up to a second


def draw_white(shape: tuple[int, ...], *key: int | str) -> torch.Tensor:
    """Draw white noise of `shape` from the stream of `key`; the streams of two keys are independent."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.randn(shape, generator=torch.Generator().manual_seed(int.from_bytes(digest, "big")))


def draw_frames(shape: tuple[int, ...], numbers: Sequence[int], *key: int | str) -> torch.Tensor:
    """Draw `[frames, ...]`, each frame from the stream of `key` and its number."""
    return torch.stack([draw_white(shape[1:], *key, number) for number in numbers])


def draw_seeded_frames(shape: tuple[int, ...], seed: int, numbers: Sequence[int]) -> Iterator[torch.Tensor]:
    """Yield `[frames, ...]` without end, each frame from the generator of `seed` plus its number.

    This is the rule of Stable Diffusion web UI for a batch, whose ancestral samplers continue the
    same generators.
    """
    generators = [torch.Generator().manual_seed((seed + number) % SEEDS) for number in numbers]
    while True:
        yield torch.stack([torch.randn(shape[1:], generator=generator) for generator in generators])


def draw_plane(channels: int, top: int, left: int, height: int, width: int, *key: int | str) -> torch.Tensor:
    """Cut `[channels, height, width]` at row `top` and column `left` out of an unbounded plane of white noise."""
    first_row, first_column = top // TILE, left // TILE
    rows = [
        torch.cat(
            [_draw_tile(channels, row, column, key) for column in range(first_column, (left + width - 1) // TILE + 1)],
            dim=2,
        )
        for row in range(first_row, (top + height - 1) // TILE + 1)
    ]
    y, x = top - first_row * TILE, left - first_column * TILE
    return torch.cat(rows, dim=1)[:, y : y + height, x : x + width]


def _draw_tile(channels: int, row: int, column: int, key: tuple[int | str, ...]) -> torch.Tensor:
    return draw_white((channels, TILE, TILE), *key, row, column)


def find_frame_numbers(noise: torch.Tensor, seed: int) -> list[int] | None:
    """Return the number of each frame of the host's `noise` in its stream for `seed`; None for other noise.

    The host draws frame after frame, and takes those that `batch_index` of a latent lists. Samplers
    get the noise only, so the numbers are found in it.
    """
    generator, numbers = torch.Generator().manual_seed(seed % SEEDS), dict[tuple[float, ...], int]()
    wanted = [_sign_frame(frame) for frame in noise]
    for number in range(max(MOST_FRAMES, len(noise))):
        drawn = torch.randn(noise.shape[1:], generator=generator).to(noise.dtype)
        numbers[_sign_frame(drawn)] = number
        if all(sign in numbers for sign in wanted):
            return [numbers[sign] for sign in wanted]
    return None


def _sign_frame(frame: torch.Tensor) -> tuple[float, ...]:
    return tuple(frame.flatten()[:COMPARED_VALUES].tolist())
