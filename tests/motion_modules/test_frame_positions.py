"""Rows of the table of positions: stretched, repeated, begun later, and what that does to clips."""

import pytest
import torch
from animatediff_loom.motion_modules.architectures.positional_encoding import sinusoidal_positions
from animatediff_loom.motion_modules.frame_positions import AS_TRAINED, UNLIMITED, FramePositions, stretch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.host import tiny_model
from tests.support.motion_models import apply_motion, apply_windows, load_motion, random_motion
from tests.support.sampling import distance, ksampler
from tests.support.texts import expect_error

TABLE = sinusoidal_positions(32, 64)


def choose(kind: str, **number: int) -> dict:
    return {"positions": {"positions": kind, **number}}


STRETCHED, REPEATED = choose("stretch", stretched_frames=31), choose("repeat", repeated_frames=3)
LATER = choose("begin later", first_position=5)


@given(st.integers(2, 32), st.integers(2, 200))
def test_stretched_rows_begin_and_end_where_those_of_the_training_do(trained, frames):
    rule = stretch(trained, frames)
    rows = rule.take_rows(TABLE, frames)
    torch.testing.assert_close(rows[:, 0], TABLE[:, 0])
    torch.testing.assert_close(rows[:, -1], TABLE[:, trained - 1], rtol=0, atol=1e-5)
    capacity = rule.capacity(32)
    assert rule.step * (capacity - 1) <= 31 + 1e-4 < rule.step * capacity + 2e-4
    assert capacity >= frames


def test_rows_between_two_others_are_interpolated():
    rows = stretch(16, 31).take_rows(TABLE, 31)
    torch.testing.assert_close(rows[:, ::2], TABLE[:, :16])
    torch.testing.assert_close(rows[:, 1::2], (TABLE[:, :15] + TABLE[:, 1:16]) / 2)


def test_rows_repeat_and_begin_later():
    assert torch.equal(FramePositions(period=5).take_rows(TABLE, 12), TABLE[:, [0, 1, 2, 3, 4] * 2 + [0, 1]])
    assert torch.equal(FramePositions(first=4).take_rows(TABLE, 8), TABLE[:, 4:12])
    assert torch.equal(AS_TRAINED.take_rows(TABLE, 8), TABLE[:, :8])
    rules = FramePositions(period=5), FramePositions(first=4), FramePositions(first=40), AS_TRAINED
    assert [rule.capacity(32) for rule in rules] == [UNLIMITED, 28, 0, 32]


@pytest.fixture(scope="module")
def motion():
    return load_motion(positions=6)


def test_longer_clips_are_sampled_whole(motion):
    """The six positions suffice for none of these windows, which the checks before sampling know."""
    model = tiny_model()
    with expect_error("The model would see 8 frames at once", "positions for 6"):
        ksampler(apply_motion(model, motion), 8)
    clips = [ksampler(apply_motion(model, motion, **kind), 8) for kind in (STRETCHED, REPEATED)]
    assert distance(*clips) > 1e-4
    windows = apply_windows(apply_motion(model, motion, **REPEATED), length=7, overlap=2)
    assert ksampler(windows, 9).isfinite().all()


@pytest.mark.parametrize("kind", ["temporal_transformer", "low_rank_attention"])
def test_positions_change_the_clip(kind):
    model = tiny_model()
    motion = load_motion() if kind == "temporal_transformer" else random_motion(model, kind)
    plain = ksampler(apply_motion(model, motion))
    assert torch.equal(ksampler(apply_motion(model, motion, **choose("as trained"))), plain)
    for rule in (STRETCHED, REPEATED, LATER):
        assert distance(ksampler(apply_motion(model, motion, **rule)), plain) > 1e-4


def test_what_is_refused(motion):
    model = tiny_model()
    with expect_error("`positions` is 'stretch'", "without a table of positions"):
        apply_motion(model, random_motion(model, "scale_shift"), **STRETCHED)
    with expect_error("`first_position` is 5", "has 6 positions. Lower `first_position`"):
        apply_motion(model, motion, **LATER)
    with expect_error("`repeated_frames` is 7", "has 6 positions. Lower `repeated_frames`"):
        apply_motion(model, motion, **choose("repeat", repeated_frames=7))
