"""Plans of context windows: the reference's vectors, and what must hold for any settings (reference E.4)."""

from itertools import pairwise

import pytest
from animatediff_loom.sampling.windows.fusion import FUSIONS, fusion_weights, pyramid
from animatediff_loom.sampling.windows.schedules import SCHEDULES, WindowLayout, looped_windows, uniform_windows
from hypothesis import given
from hypothesis import strategies as st

SIXTEEN = WindowLayout(16, 4)


def run(start: int, frames: int, dilation: int = 1) -> tuple[int, ...]:
    """A window of 16 frames on the circle."""
    return tuple((start + dilation * number) % frames for number in range(16))


def starting(frames: int, *starts: int) -> list[tuple[int, ...]]:
    return [run(start, frames) for start in starts]


@pytest.mark.parametrize(
    ("schedule", "frames", "step", "starts"),
    (
        ("static", 32, 0, (0, 12, 16)),
        ("static", 40, 7, (0, 12, 24)),
        ("static", 33, 0, (0, 12, 17)),
        ("uniform", 32, 0, (0, 12, 16)),
        ("uniform", 32, 1, (16, 0, 8)),
        ("uniform", 32, 2, (8, 16, 0)),
        ("uniform", 32, 3, (16, 0, 4)),
    ),
)
def test_vectors_of_the_reference(schedule, frames, step, starts):
    assert SCHEDULES[schedule](frames, SIXTEEN, step) == starting(frames, *starts)


@pytest.mark.parametrize(("step", "starts"), enumerate([(0, 12, 24), (16, 28, 8), (8, 20, 0), (24, 4, 16)]))
def test_vectors_of_a_closed_loop(step, starts):
    assert looped_windows(32, WindowLayout(16, 4, closed_loop=True), step) == starting(32, *starts)


@pytest.mark.parametrize(("overlap", "stride"), ((1, 1), (4, 1), (4, 2), (8, 3)))
def test_closed_loop_decides_whether_the_ends_meet(overlap, stride):
    """At every length, in all windows of 8 steps."""
    on, off = (WindowLayout(16, overlap, stride, closed) for closed in (True, False))
    for frames in range(2, 201):
        steps = range(8)
        assert any((frames - 1, 0) in pairwise(window) for step in steps for window in looped_windows(frames, on, step))
        assert all(list(window) == sorted(window) for step in steps for window in looped_windows(frames, off, step))


@given(st.integers(2, 32), st.integers(1, 200), st.integers(0, 8), st.integers(1, 4), st.integers(0, 1000))
def test_a_window_of_a_closed_loop_crosses_the_end_in_every_step(length, more, overlap, stride, step):
    layout = WindowLayout(length, min(overlap, length - 1), stride, closed_loop=True)
    frames = length + more
    assert any((frames - 1, 0) in pairwise(window) for window in looped_windows(frames, layout, step))


@pytest.mark.parametrize(("step", "starts"), enumerate([(4, 20), (20, 4), (8, 24), (24, 8)]))
def test_vectors_of_a_closed_loop_without_overlap(step, starts):
    assert looped_windows(32, WindowLayout(16, 0, closed_loop=True), step) == starting(32, *starts)


def test_vector_of_a_closed_loop_with_strides():
    settings = WindowLayout(16, 4, stride=3, closed_loop=True)
    expected = starting(64, 0, 12, 24, 36, 48, 60)
    expected += [run(0, 64, 2), run(28, 64, 2), run(56, 64, 2), run(0, 64, 4), run(60, 64, 4)]
    assert looped_windows(64, settings, 0) == expected


def test_windows_of_one_frame_have_no_distance_in_them():
    settings = WindowLayout(1, 0, stride=3)
    assert sorted(uniform_windows(3, settings, 3)) == [(0,), (1,), (2,)]


def test_batched_windows_share_no_frame():
    assert [len(window) for window in SCHEDULES["batched"](40, SIXTEEN, 0)] == [16, 16, 8]


@st.composite
def settings(draw):
    length = draw(st.integers(1, 32))
    overlap = draw(st.integers(0, length - 1))
    return WindowLayout(length, overlap, draw(st.integers(1, 6)), draw(st.booleans()))


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 300), settings(), st.integers(0, 1000))
def test_every_frame_is_covered_by_windows_without_repetition(schedule, frames, settings, step):
    windows = SCHEDULES[schedule](frames, settings, step)
    assert {frame for window in windows for frame in window} == set(range(frames))
    assert all(len(set(window)) == len(window) <= settings.length for window in windows)
    assert len(set(windows)) == len(windows)


@given(st.integers(2, 32), st.integers(0, 1000))
def test_a_short_loop_is_turned_as_a_whole(frames, step):
    (window,) = looped_windows(frames, WindowLayout(32, closed_loop=True), step)
    assert sorted(window) == list(range(frames))
    assert all((b - a) % frames == 1 % frames for a, b in pairwise(window))


@given(st.integers(1, 300), settings(), st.integers(0, 1000))
def test_only_loops_run_over_the_end(frames, settings, step):
    for window in uniform_windows(frames, settings, step):
        assert list(window) == sorted(window)


@given(st.sampled_from(FUSIONS), st.integers(1, 64), st.integers(0, 63), st.booleans())
def test_weights_are_above_zero_and_the_same_from_both_ends(fusion, count, overlap, loops):
    inner = fusion_weights(fusion, tuple(range(5, 5 + count)), 5 + count + 5, min(overlap, count - 1), loops)
    assert len(inner) == count
    assert min(inner) > 0
    assert inner == pytest.approx(inner[::-1])
    assert max(inner) == inner[(count - 1) // 2]


@pytest.mark.parametrize(("count", "weights"), ((16, [*range(1, 9), *range(8, 0, -1)]), (5, [1, 2, 3, 2, 1])))
def test_pyramid(count, weights):
    assert pyramid(count) == weights


def test_ramps_of_the_overlap_stand_where_another_window_goes_on():
    first, inner, last = (fusion_weights("overlap-linear", run(start, 64), 64, 4, False) for start in (0, 12, 48))
    ramp = pytest.approx([0.0, 1 / 3, 2 / 3, 1.0], abs=1e-5)
    assert first[:12] == [1.0] * 12 and first[:-5:-1] == ramp
    assert inner[:4] == ramp and inner[:-5:-1] == ramp
    assert last[:4] == ramp and last[4:] == [1.0] * 12


@pytest.mark.parametrize("start", (0, 48, 56))
def test_a_wrapped_window_has_ramps_at_both_ends(start):
    weights = fusion_weights("overlap-linear", run(start, 64), 64, 4, loops=True)
    assert weights[:4] == weights[:-5:-1] == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0], abs=1e-5)
