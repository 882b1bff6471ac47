"""Noise for long clips: the reference's order, and that every frame keeps its own distribution (reference E.5)."""

import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.nodes.video_noise import VideoNoise
from animatediff_loom.sampling.noise.initial import NOISES, NoiseSettings, free_noise
from hypothesis import given
from hypothesis import strategies as st

from tests.support.host import tiny_model
from tests.support.motion_models import apply_motion, apply_windows
from tests.support.sampling import apply_host_windows, call, ksampler, noise, sample


def order(frames: int, length: int, overlap: int, seed: int) -> list[int]:
    """Which frame of the noise stands at each place."""
    return free_noise(torch.arange(frames), NoiseSettings("FreeNoise", length, overlap), seed).tolist()


def test_order_of_the_reference():
    expected = [6, 8, 1, 7, 0, 2, 10, 11, 4, 3, 5, 9, 14, 15, 12, 13]
    assert order(32, 16, 4, seed=42) == [*range(16), *expected]


@given(st.integers(1, 120), st.integers(2, 32), st.data())
def test_every_window_draws_on_the_first(frames, length, data):
    overlap = data.draw(st.integers(0, length - 1))
    frame_order = order(frames, length, overlap, seed=3)
    assert frame_order[:length] == list(range(min(frames, length)))
    assert set(frame_order) == set(range(min(frames, length)))


@given(st.integers(0, 1000))
def test_a_seed_gives_one_order(seed):
    assert order(64, 16, 4, seed) == order(64, 16, 4, seed)


def test_another_seed_gives_another_order():
    assert order(64, 16, 4, 1) != order(64, 16, 4, 2)


def test_frames_of_noise_are_moved_and_not_changed():
    start = noise(40)
    moved = free_noise(start, NoiseSettings("FreeNoise"), seed=0)
    assert all(any(torch.equal(frame, old) for old in start[:16]) for frame in moved)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def noisy(model, kind: str = "FreeNoise", **inputs):
    return call(VideoNoise, model=model, noise_type={"noise_type": kind, **inputs})


@pytest.mark.parametrize("kind", NOISES)
def test_sampling_begins_with_that_noise(model, kind):
    start, settings = noise(7), NoiseSettings(kind, 4, 2)
    expected = sample(model, noise=NOISES[kind](start, settings, seed=1))
    noisy_model = noisy(model, kind, context_length=4, context_overlap=2)
    assert torch.equal(sample(noisy_model, noise=start), expected)
    assert not torch.equal(sample(model, noise=start), expected)


def test_one_noise_for_all_frames_is_a_still_without_motion(model):
    clip = ksampler(noisy(model, "same"))
    assert torch.allclose(clip, clip[:1].expand_as(clip), atol=1e-5)
    moving = ksampler(noisy(apply_motion(model), "same"))
    assert not torch.allclose(moving, moving[:1].expand_as(moving), atol=1e-3)


def test_the_last_noise_counts(model):
    twice = noisy(noisy(model, "same"), context_length=3, context_overlap=1)
    assert torch.equal(ksampler(twice), ksampler(noisy(model, context_length=3, context_overlap=1)))


@pytest.mark.parametrize("add_windows", [apply_windows, apply_host_windows], ids=["ours", "host"])
@pytest.mark.parametrize("noise_is_first", [True, False])
def test_freenoise_follows_the_windows_on_the_model(model, add_windows, noise_is_first):
    """Other lengths on the node change nothing, and without windows they count."""

    def chain(length: int, overlap: int):
        if noise_is_first:
            return add_windows(noisy(model, context_length=length, context_overlap=overlap))
        return noisy(add_windows(model), context_length=length, context_overlap=overlap)

    assert torch.equal(sample(chain(8, 2), 12), sample(chain(4, 3), 12))
    alone = [noisy(model, context_length=length, context_overlap=overlap) for length, overlap in ((8, 2), (4, 3))]
    assert not torch.equal(sample(alone[0], 12), sample(alone[1], 12))


def test_an_overlap_as_long_as_a_window(model):
    with pytest.raises(LoomError, match="`context_overlap` is 4 and `context_length` is 4"):
        noisy(model, context_length=4, context_overlap=4)
