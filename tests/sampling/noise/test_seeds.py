"""Seeds of frames: the rule of Stable Diffusion web UI, and streams that do not depend on the length of a clip."""

import itertools

import pytest
import torch
from animatediff_loom.sampling.noise.initial import NoiseSettings, draw_step_noise, make_noise
from animatediff_loom.sampling.noise.seeds import draw_seeded_frames, draw_white, find_frame_numbers
from comfy.sample import prepare_noise

from tests.support.sampling import noise

STREAMS = "stream per frame"
SHAPE = (4, 3, 5)


def make(kind: str, frames: int, seed: int = 1, **settings) -> torch.Tensor:
    return make_noise(noise(frames), NoiseSettings(kind, **settings), seed)


def test_seed_plus_frame():
    """Also for the last seed, after which seeds begin again."""
    for seed in (7, 2**64 - 2):
        for number, frame in enumerate(make("seed + frame", 4, seed)):
            generator = torch.Generator().manual_seed((seed + number) % 2**64)
            assert torch.equal(frame, torch.randn(1, *frame.shape, generator=generator)[0])


def test_generators_continue_in_steps():
    """As in the web UI: the second noise of a frame is the second draw of its generator."""
    steps = draw_step_noise((2, *SHAPE), NoiseSettings("seed + frame"), seed=7)
    generator = torch.Generator().manual_seed(8)
    draws = [torch.randn(SHAPE, generator=generator) for _ in range(3)]
    assert torch.equal(next(steps)[1], draws[1])
    assert torch.equal(next(steps)[1], draws[2])


@pytest.mark.parametrize("kind", ["seed + frame", STREAMS])
def test_frames_do_not_depend_on_the_length(kind):
    assert torch.equal(make(kind, 9)[:4], make(kind, 4))
    assert torch.equal(make(kind, 9)[5:], make(kind, 4, start=5))
    assert torch.equal(make(kind, 9, fresh_noise=0.3)[:4], make(kind, 4, fresh_noise=0.3))


def test_a_stream_is_of_one_seed_only():
    """While frame 1 of a seed is frame 0 of the next seed in the web UI."""
    assert torch.equal(make("seed + frame", 2, 5)[1], make("seed + frame", 2, 6)[0])
    frames = torch.cat([make(STREAMS, 20, seed) for seed in range(5)]).flatten(1)
    assert float(torch.corrcoef(frames).triu(1).abs().max()) < 0.3


def test_streams_of_two_keys_differ():
    keys = [(1,), (2,), (1, "step"), (1, 0), (1, "step", 1)]
    draws = [draw_white(SHAPE, *key) for key in keys]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(draws, 2))
    assert torch.equal(draw_white(SHAPE, 1, "step"), draws[2])


def test_seeded_frames_begin_at_a_frame():
    later, next_seed = draw_seeded_frames((3, *SHAPE), 4, range(2, 5)), draw_seeded_frames((3, *SHAPE), 6, range(3))
    assert torch.equal(next(later), next(next_seed))


@pytest.mark.parametrize("numbers", [None, [5, 6, 7], [3, 1, 3]], ids=str)
def test_numbers_are_found_in_the_noise_of_the_host(numbers):
    white = prepare_noise(torch.zeros(3, 4, 8, 8), 11, numbers)
    assert find_frame_numbers(white, 11) == (numbers or [0, 1, 2])
    assert find_frame_numbers(white, 12) is None


@pytest.mark.parametrize("kind", ["seed + frame", STREAMS, "camera"])
def test_noises_between_iterations_differ_from_each_other_and_in_steps(kind):
    settings = NoiseSettings(kind)
    white = [noise(4, seed) for seed in (1, 2, 3)]
    draws = [make_noise(each, settings, 1, draw) for each, draw in zip(white, (0, -1, -2), strict=True)]
    steps = itertools.islice(draw_step_noise(tuple(white[0].shape), settings, seed=1), 2)
    for one, other in itertools.combinations([*draws, *steps], 2):
        assert not torch.isclose(one, other).flatten(1).all(dim=1).any()
        assert abs(float(torch.corrcoef(torch.stack((one.flatten(), other.flatten())))[0, 1])) < 0.2
