"""Temporal guidance: its formula, its passes, and its company."""

import pytest
import torch
from animatediff_loom.nodes.temporal_guidance import TemporalGuidanceNode
from torch.testing import assert_close

from tests.support.motion_models import apply_motion, apply_windows, load_motion
from tests.support.sampling import call, record_unet, run_guider, sample
from tests.support.texts import expect_error

FRAMES, CFG = 4, 3.0


def guide(model, scale: float = 2.0, **advanced):
    return call(TemporalGuidanceNode, model=model, scale=scale, **advanced)


def run(model, steps: int = 1, **options):
    return sample(model, FRAMES, **({"steps": steps, "cfg": CFG} | options))


def count_passes(model, **options) -> int:
    recorded, seen = record_unet(model)
    run(recorded, **options)
    return sum(len(each["chunks"]) for each in seen.calls)


def test_it_is_guidance_away_from_the_prediction_without_motion(model, moving):
    """In one step of euler from the highest to no noise, the result is the guided prediction."""
    guided, plain = run(guide(moving)), run(moving)
    with_motion, without = run(moving, cfg=1.0), run(model, cfg=1.0)
    assert_close(guided, plain + 2.0 * (with_motion - without), atol=2e-3, rtol=1e-3)


def test_scale_0_is_exact_and_adds_no_pass(moving):
    assert torch.equal(run(guide(moving, 0.0)), run(moving))
    assert count_passes(guide(moving, 0.0)) == count_passes(moving) == 2
    assert count_passes(guide(moving)) == 3
    assert count_passes(guide(moving, end_percent=0.5), steps=2) == 3 + 2


def test_before_or_after_the_motion_model(model, moving):
    assert torch.equal(run(apply_motion(guide(model))), run(guide(moving)))


@pytest.mark.parametrize("schedule", ["static", "view"])
def test_windows(model, moving, schedule):
    """All four predictions are those of windows."""
    windowed, still = (apply_windows(each, schedule, length=3) for each in (moving, model))
    with_motion, without = run(windowed, cfg=1.0), run(still, cfg=1.0)
    expected = run(windowed) + 2.0 * (with_motion - without)
    assert_close(run(guide(windowed)), expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("guider", ["BasicGuider", "DualCFGGuider", "PerpNegGuider"])
def test_other_guiders(moving, guider):
    guided, plain = (run_guider(guider, each) for each in (guide(moving), moving))
    assert guided.isfinite().all() and not torch.allclose(guided, plain, atol=1e-3)


def test_all_motion_models_are_left_out(model, moving):
    twice = apply_motion(moving, load_motion(name="second"))
    expected = run(twice) + 2.0 * (run(twice, cfg=1.0) - run(model, cfg=1.0))
    assert_close(run(guide(twice)), expected, atol=2e-3, rtol=1e-3)


def test_a_range_without_steps_is_refused(model):
    with expect_error("`start_percent` is 0.6 and `end_percent` is 0.4. Set `start_percent` below `end_percent`."):
        guide(model, start_percent=0.6, end_percent=0.4)


def test_without_a_motion_model_it_is_refused(model):
    with expect_error("The model has Temporal Guidance, but no motion model acts on it. Connect Apply Motion Model"):
        run(guide(model))
