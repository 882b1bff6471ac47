"""Noise for long clips: the reference's order, and that every frame keeps its own distribution (reference E.5)."""

import torch
from animatediff_loom.sampling.long_noise import free_noise
from hypothesis import given
from hypothesis import strategies as st


def order(frames: int, length: int, overlap: int, seed: int) -> list[int]:
    """Which frame of the noise stands at each place."""
    return free_noise(torch.arange(frames), length, overlap, seed).tolist()


def test_order_of_the_reference():
    expected = [6, 8, 1, 7, 0, 2, 10, 11, 4, 3, 5, 9, 14, 15, 12, 13]
    assert order(32, 16, 4, seed=42) == [*range(16), *expected]


@given(st.integers(1, 120), st.integers(2, 32), st.data())
def test_every_window_draws_on_the_first(frames, length, data):
    overlap = data.draw(st.integers(0, length - 1))
    found = order(frames, length, overlap, seed=3)
    assert found[:length] == list(range(min(frames, length)))
    assert set(found) == set(range(min(frames, length)))


@given(st.integers(0, 1000))
def test_a_seed_gives_one_order(seed):
    assert order(64, 16, 4, seed) == order(64, 16, 4, seed)


def test_another_seed_gives_another_order():
    assert order(64, 16, 4, 1) != order(64, 16, 4, 2)


def test_frames_of_noise_are_moved_and_not_changed():
    noise = torch.randn(40, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert all(any(torch.equal(frame, old) for old in noise[:16]) for frame in free_noise(noise, 16, 4, seed=0))
