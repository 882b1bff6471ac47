"""Settings of Context Windows: weights that add up, refusals, and what is divided."""

import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.sampling.steps import step_number
from animatediff_loom.sampling.windows.fusion import FUSIONS
from animatediff_loom.sampling.windows.run import ContextRun
from animatediff_loom.sampling.windows.schedules import WindowLayout
from animatediff_loom.sampling.windows.settings import (
    SCHEDULE_NAMES,
    ContextSettings,
    normalise_weights,
)
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def settings(draw) -> ContextSettings:
    length = draw(st.integers(1, 24))
    windows = WindowLayout(length, draw(st.integers(0, length - 1)), draw(st.integers(1, 4)), draw(st.booleans()))
    return ContextSettings(draw(st.sampled_from(SCHEDULE_NAMES)), windows, draw(st.sampled_from(FUSIONS)))


@given(settings(), st.integers(1, 100), st.integers(0, 1000))
def test_what_a_frame_counts_adds_up_to_one(settings, frames, step):
    total = torch.zeros(frames, dtype=torch.float64)
    windows = settings.plan_windows(frames, step)
    for window, weights in zip(windows, normalise_weights(windows, settings, frames), strict=True):
        assert len(set(window)) == len(window) and min(weights) > 0
        total[list(window)] += torch.tensor(weights, dtype=torch.float64)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-12)


@given(settings(), st.integers(1, 100))
def test_no_more_frames_together_than_a_window_has(settings, frames):
    if settings.divides_clip(frames) or settings.divides_attention(frames):
        longest = max(len(window) for window in settings.plan_windows(frames, 0))
        assert longest == settings.attended_frames(frames)
    else:
        assert settings.attended_frames(frames) == frames


def test_a_short_loop_is_divided_in_attention_alone():
    loop = ContextSettings("looped", WindowLayout(16, 4, 1, closed_loop=True))
    assert loop.divides_attention(16) and not loop.divides_clip(16)
    assert loop.divides_clip(17) and not loop.divides_attention(17)
    assert [window[0] for window in loop.plan_windows(8, 0)] == [0, 4]


@pytest.mark.parametrize("overlap", [8, 9])
def test_an_overlap_as_long_as_the_window(overlap):
    with pytest.raises(LoomError, match=f"`context_overlap` is {overlap} and `context_length` is 8"):
        ContextSettings(layout=WindowLayout(8, overlap)).check()


@pytest.mark.parametrize("frames", [4, 16, 17, 32, 200])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_open_loop_has_the_windows_and_weights_of_uniform(frames, fusion):
    looped, uniform = (ContextSettings(schedule, WindowLayout(16, 4, 2), fusion) for schedule in ("looped", "uniform"))
    assert looped.divides(frames) == uniform.divides(frames) == (frames > 16)
    for step in range(4):
        windows = looped.plan_windows(frames, step)
        assert windows == uniform.plan_windows(frames, step)
        assert normalise_weights(windows, looped, frames) == normalise_weights(windows, uniform, frames)


def test_a_loop_needs_frames():
    loop = ContextSettings("looped", WindowLayout(8, 2, closed_loop=True))
    with pytest.raises(LoomError, match="2 frames, but the looped schedule needs at least 3 with `closed_loop`"):
        loop.check_frames(2)
    loop.check_frames(3)
    ContextSettings("looped", WindowLayout(8, 2)).check_frames(1)
    ContextSettings("static").check_frames(1)


def test_weights_are_made_once():
    run, latents, plan = ContextRun(), torch.zeros(40, 4, 2, 2), ContextSettings("uniform")
    assert run.weigh_windows(plan, latents, 1) is run.weigh_windows(plan, latents, 1)
    assert run.weigh_windows(plan, latents, 1) is not run.weigh_windows(plan, latents, 2)
    static = ContextSettings("static")
    assert run.weigh_windows(static, latents, 1) is run.weigh_windows(static, latents, 7)


def test_settings_with_the_same_windows_have_weights_of_their_own():
    """A clip of 24 frames has the windows from 0 and from 8 with an overlap of 4 and of 8."""
    run, latents = ContextRun(), torch.zeros(24, 4, 2, 2)
    one, other = (ContextSettings(layout=WindowLayout(16, overlap), fusion="overlap-linear") for overlap in (4, 8))
    first, second = run.weigh_windows(one, latents, 0)[0], run.weigh_windows(other, latents, 0)[0]
    assert first.frames == second.frames
    assert not torch.equal(first.weights, second.weights)


@pytest.mark.parametrize(
    ("sigma", "step"), [(10.0, 0), (9.9999, 0), (20.0, 0), (7.0, 0), (5.0, 1), (3.0, 1), (1.0, 2), (0.5, 2), (0.0, 3)]
)
def test_the_step_of_a_sigma(sigma, step):
    assert step_number(sigma, torch.tensor([10.0, 5.0, 1.0, 0.0])) == step
