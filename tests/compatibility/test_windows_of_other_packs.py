"""Another pack's windows over the frames of an animated model: what counts is what a motion module sees at once."""

import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError

from tests.support.motion_models import apply_motion, load_motion
from tests.support.other_nodes import (
    divide_in_function_wrapper,
    replace_calc_cond_batch,
    set_handler,
    tile,
    wrap_calc_cond_batch,
)
from tests.support.sampling import distance, noise, prompt, sample

LENGTH, FRAMES = 3, 6
KINDS = {
    "published": wrap_calc_cond_batch,
    "not published": lambda model, length: wrap_calc_cond_batch(model, length, publish=False),
    "a function of the sampler": replace_calc_cond_batch,
    "a handler": set_handler,
}


@pytest.fixture(scope="module")
def moves():
    return load_motion(LENGTH, family="AnimateDiff v3")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [False, True])
def test_a_clip_of_more_frames_than_positions(model, moves, kind, first):
    divide, start = KINDS[kind], noise(FRAMES)
    divided = apply_motion(divide(model, LENGTH), moves) if first else divide(apply_motion(model, moves), LENGTH)
    alone = [sample(apply_motion(model, moves), noise=part) for part in start.split(LENGTH)]
    assert distance(sample(divided, noise=start), torch.cat(alone)) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_windows_that_are_too_long(model, moves, kind):
    with pytest.raises(LoomError, match="4 frames at once, but has positions for 3"):
        sample(KINDS[kind](apply_motion(model, moves), LENGTH + 1), 2 * (LENGTH + 1))


def test_tiles_of_windows_that_another_pack_publishes(model, moves):
    start = torch.cat([noise(FRAMES, 1), noise(FRAMES, 2)], dim=-1)
    divided = wrap_calc_cond_batch(apply_motion(model, moves), LENGTH)
    single, batched = (sample(tile(divided, count), noise=start) for count in (1, 2))
    assert distance(batched, single) < 1e-5


def test_windows_inside_one_evaluation(model, moves):
    start, frames = noise(2 * LENGTH + 2), (LENGTH, LENGTH, 2)
    alone = [sample(apply_motion(model, moves), noise=part) for part in start.split(frames)]
    clip = sample(divide_in_function_wrapper(apply_motion(model, moves), LENGTH), noise=start)
    assert distance(clip, torch.cat(alone)) < 1e-5


def test_frames_that_are_evaluated_one_by_one(moving):
    with pytest.raises(LoomError, match="a batch of 2 for 2 conds of 5 frames, expected a multiple of 10"):
        sample(divide_in_function_wrapper(moving, 1), 5)


def test_half_of_a_clip_for_each_cond_is_known_by_the_prompts(model, moves):
    start = noise(2 * LENGTH)
    alone = [sample(apply_motion(model, moves), noise=part) for part in start.split(LENGTH)]
    clip = sample(divide_in_function_wrapper(apply_motion(model, moves), LENGTH), noise=start)
    assert distance(clip, torch.cat(alone)) < 1e-5


def test_half_of_a_clip_for_each_cond_may_be_a_clip_for_one_with_the_same_prompts(moving):
    with pytest.raises(LoomError, match=r"a batch of 6 for 2 conds of 6 frames.*Remove the node that divides"):
        sample(divide_in_function_wrapper(moving, LENGTH), FRAMES, negative=prompt(2))


def test_a_clip_for_one_cond_at_a_time_is_not_taken_for_two_windows(moving):
    """A node that evaluates cond by cond but lists all of them."""
    model = moving.clone()

    def evaluate_one_by_one(apply_model, call):
        parts = torch.arange(len(call["input"])).chunk(len(call["cond_or_uncond"]))
        inputs = [
            {name: each[part] if torch.is_tensor(each) else each for name, each in call["c"].items()} for part in parts
        ]
        rows = zip(parts, inputs, strict=True)
        return torch.cat([apply_model(call["input"][part], call["timestep"][part], **each) for part, each in rows])

    model.set_model_unet_function_wrapper(evaluate_one_by_one)
    with pytest.raises(LoomError, match="a batch of 6 for 2 conds of 6 frames"):
        sample(model, FRAMES)
