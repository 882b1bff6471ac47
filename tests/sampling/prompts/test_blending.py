"""Text features between prompts: exact at the prompts, on the way between them, and of any number of tokens."""

import math

import pytest
import torch
from animatediff_loom.sampling.prompts.blending import INTERPOLATIONS, blend_features, equalise_lengths, lerp, slerp
from animatediff_loom.sampling.prompts.schedule import parse_schedule, plan_blends
from hypothesis import given
from hypothesis import strategies as st

from tests.support.texts import expect_error


def context(seed: int, tokens: int = 77) -> torch.Tensor:
    return torch.randn(1, tokens, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_frame_of_one_prompt_has_its_very_features(interpolation):
    features = [context(0), context(1)]
    frames = blend_features(features, plan_blends(parse_schedule("0-2: one\n8: two", 10), 10), interpolation)
    assert frames.shape == (10, 77, 16)
    assert all(torch.equal(frames[frame], features[0][0]) for frame in (0, 1, 2))
    assert all(torch.equal(frames[frame], features[1][0]) for frame in (8, 9))


@pytest.mark.parametrize("interpolate", INTERPOLATIONS.values())
def test_ends_are_exact_and_the_middle_is_as_far_from_both(interpolate):
    start, end = context(0), context(1)
    torch.testing.assert_close(interpolate(start, end, 0.0), start)
    torch.testing.assert_close(interpolate(start, end, 1.0), end)
    torch.testing.assert_close(interpolate(start, end, 0.3), interpolate(end, start, 0.7))


def test_linear():
    assert torch.equal(lerp(torch.zeros(1, 2, 3), torch.ones(1, 2, 3), 0.25), torch.full((1, 2, 3), 0.25))


@given(st.floats(0, 1, allow_subnormal=False))
def test_spherical_turns_at_an_even_pace_and_keeps_the_length(t):
    start, end = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]])
    angle = t * math.pi / 2
    expected = torch.tensor([[[2 * math.cos(angle), 2 * math.sin(angle)]]])
    torch.testing.assert_close(slerp(start, end, t), expected)


def test_spherical_turns_at_an_even_pace_between_vectors_of_different_length():
    start, end = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 3.0]]])
    expected = torch.tensor([[[2 * math.cos(math.pi / 4), 2 * math.sin(math.pi / 4)]]])
    torch.testing.assert_close(slerp(start, end, 0.5), expected)


@pytest.mark.parametrize("factor", (1.0, 3.0, 0.0, -1.0))
def test_parallel_vectors_have_a_straight_way(factor):
    start = context(0)
    middle = slerp(start, factor * start, 0.5)
    assert middle.isfinite().all()
    torch.testing.assert_close(middle, start * (1 + factor) / 2, rtol=1e-4, atol=1e-4)


def test_prompts_of_different_length_are_repeated_to_one():
    short, long = equalise_lengths([context(0, 77), context(1, 154)])
    assert short.shape == long.shape == (1, 154, 16)
    assert torch.equal(short[:, 77:], context(0, 77))


def test_lengths_that_hardly_meet_are_refused_and_one_length_never():
    with expect_error("77, 616, 693 tokens", "whose common multiple 5544 is above 4620", "Shorten the long prompts"):
        equalise_lengths([context(0, tokens) for tokens in (77, 616, 693)])
    assert [each.shape[1] for each in equalise_lengths([context(0, 77 * part) for part in range(1, 7)])] == [4620] * 6
    assert [each.shape[1] for each in equalise_lengths([context(0, 5000), context(1, 5000)])] == [5000] * 2


def test_every_encoder_is_interpolated_by_itself():
    features, widths = [context(0), context(1)], (6, 10)
    blends = plan_blends(parse_schedule("0: one\n4: two", 5), 5)
    blended = blend_features(features, blends, "spherical", widths)
    by_encoder = [[each.split(widths, -1)[encoder] for each in features] for encoder in (0, 1)]
    expected = torch.cat([blend_features(each, blends, "spherical") for each in by_encoder], -1)
    assert torch.equal(blended, expected)
    assert not torch.allclose(blended, blend_features(features, blends, "spherical"), atol=1e-3)


def test_attention_sees_no_difference_when_all_tokens_are_repeated():
    query, (short, _) = context(2, 9), equalise_lengths([context(0, 77), context(1, 154)])
    attend = torch.nn.functional.scaled_dot_product_attention
    once = context(0, 77)
    torch.testing.assert_close(attend(query, short, short), attend(query, once, once))
