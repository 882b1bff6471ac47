"""Windows that take their appearance from the first window."""

import pytest
import torch
from animatediff_loom.sampling.windows.reference import WindowReference

from tests.support.host import tiny_model
from tests.support.motion_models import LENGTH, apply_motion, apply_windows
from tests.support.sampling import distance, noise, prompt, record_options, sample

FRAMES = 10


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def test_without_reference_nothing_changes(model):
    assert torch.equal(sample(apply_windows(model, reference_until=0.0), FRAMES), sample(apply_windows(model), FRAMES))


@pytest.mark.parametrize("until", [0.4, 1.0])
def test_other_windows_look_at_the_first(model, until):
    """Without motion, frames know of each other through the reference alone."""
    start, referring = noise(FRAMES), apply_windows(model, reference_until=until)
    clip, plain = sample(referring, noise=start), sample(apply_windows(model), noise=start)
    assert distance(clip[: LENGTH - 1], plain[: LENGTH - 1]) < 2e-5
    assert distance(clip[LENGTH:], plain[LENGTH:]) > 1e-3
    start[LENGTH // 2] = noise(1, seed=9)
    other = sample(referring, noise=start)
    assert distance(other[LENGTH:], clip[LENGTH:]) > 1e-4


def test_windows_take_the_means_of_the_first():
    reference = WindowReference()
    first, others = torch.randn(4, 3, 2, 2), torch.randn(8, 3, 2, 2)
    (unchanged,) = reference.match_means([first], windows=1)
    assert torch.equal(unchanged, first)
    (matched,) = reference.match_means([others], windows=2)
    for window, before in zip(matched.chunk(2), others.chunk(2), strict=True):
        assert torch.allclose(window.mean((0, 2, 3)), first.mean((0, 2, 3)), atol=1e-6)
        assert torch.allclose(
            window - window.mean((0, 2, 3), keepdim=True), before - before.mean((0, 2, 3), keepdim=True), atol=1e-6
        )


def test_a_shorter_range_changes_less(model):
    plain = sample(apply_windows(model), FRAMES, steps=4)
    early, always = (sample(apply_windows(model, reference_until=until), FRAMES, steps=4) for until in (0.3, 1.0))
    assert 0 < distance(early, plain) < distance(always, plain)


@pytest.mark.parametrize("windows_at_once", [1, 3])
def test_the_first_window_is_evaluated_before_the_others(model, windows_at_once):
    windowed, seen = record_options(apply_windows(model, reference_until=1.0, windows_at_once=windows_at_once))
    sample(windowed, FRAMES, steps=1)
    assert seen[0]["options"]["ad_params"]["sub_idxs"] == list(range(LENGTH))


def test_several_windows_at_once_make_the_same(model):
    moving = apply_motion(model)
    one, three = (
        sample(apply_windows(moving, "uniform", reference_until=1.0, windows_at_once=count), FRAMES) for count in (1, 3)
    )
    assert distance(three, one) < 2e-5


def test_conds_that_are_evaluated_apart_have_references_of_their_own(model):
    """Prompts of 7 and 8 tokens do not fit into one batch."""
    long = prompt(2, tokens=8)
    clip = sample(apply_windows(model, reference_until=1.0), FRAMES, positive=long)
    factor, model.model.memory_usage_factor = model.model.memory_usage_factor, 1e18
    try:
        separate = sample(apply_windows(model, reference_until=1.0, windows_at_once=1), FRAMES, positive=long)
    finally:
        model.model.memory_usage_factor = factor
    assert distance(separate, clip) < 2e-5
