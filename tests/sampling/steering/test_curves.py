"""Curves and values of sites as users type them."""

import pytest
from animatediff_loom.sampling.prompts.schedule import EASINGS
from animatediff_loom.sampling.steering.curves import (
    CurvePoint,
    evaluate_curve,
    place_points,
    read_frame_curve,
    read_progress_curve,
)
from animatediff_loom.sampling.steering.site_values import read_site_values
from hypothesis import given
from hypothesis import strategies as st

from tests.support.texts import expect_error


def frame_values(text: str, frames: int) -> list[float]:
    points = place_points(read_frame_curve(text, "frame_curve"), frames)
    return [round(evaluate_curve(points, frame), 6) for frame in range(frames)]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1: 1, 3: 0", [1, 1, 0.5, 0, 0]),
        ("0: 1.0 hold, 2: .5", [1, 1, 0.5, 0.5, 0.5]),
        ("0:(0) ease_in; 4:(1)", [0, 0.0625, 0.25, 0.5625, 1]),
        ("0\uff1a0\uff0c100\uff05\uff1a2\n", [0, 0.5, 1, 1.5, 2]),
        ("0: 0\n50%: 1", [0, 0.5, 1, 1, 1]),
        ("0: 1, 16: 0.2", [1, 0.95, 0.9, 0.85, 0.8]),
    ],
)
def test_a_curve_over_frames(text, values):
    assert frame_values(text, 5) == values


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10), st.sampled_from(list(EASINGS))), min_size=1),
    st.integers(-20, 120),
)
def test_a_curve_goes_through_its_points_and_stays_between_neighbours(written, half_steps):
    by_frame = {frame: CurvePoint(frame, value, easing) for frame, value, easing in written}
    points, position = [by_frame[frame] for frame in sorted(by_frame)], half_steps / 2
    assert all(evaluate_curve(points, point.position) == point.value for point in points)
    before = max((point for point in points if point.position <= position), default=points[0])
    after = min((point for point in points if point.position >= position), default=points[-1])
    low, high = sorted((before.value, after.value))
    assert low - 1e-9 <= evaluate_curve(points, position) <= high + 1e-9


def test_progress_is_a_fraction_or_a_percentage():
    assert read_progress_curve("0: 1, 25%: 0.5 hold, .5: 0", "progress_curve") == (
        CurvePoint(0, 1),
        CurvePoint(0.25, 0.5, "hold"),
        CurvePoint(0.5, 0),
    )


@pytest.mark.parametrize(
    ("read", "text", "parts"),
    [
        (read_frame_curve, "0: 1, 8 0.5", ("line 1, column 7", "'8 0.5'", "`16: 0.2`")),
        (read_frame_curve, "0: 1,\n 8: -1", ("line 2, column 2", "'-1'", "0 to 10")),
        (read_frame_curve, "0: 1, 8: 11", ("'11'", "0 to 10")),
        (read_frame_curve, "8: 1, 8: 0", ("a frame after 8",)),
        (read_frame_curve, "0: 1 bounce, 8: 0", ("'bounce'", "ease_in_out")),
        (read_frame_curve, "0.5: 1", ("0.5", "a whole frame number")),
        (read_frame_curve, "0: (1, 2: 1", ("'0: (1'",)),
        (read_progress_curve, "0: 1, 12: 0", ("12", "from 0.0 to 1.0")),
        (read_progress_curve, "0.5: 1, 40%: 0", ("a position after 0.5",)),
        (read_site_values, "down.1 0.5", ("'down.1 0.5'", "`mid: 0.5`")),
        (read_site_values, "mid: loud", ("'loud'", "0 to 10")),
    ],
)
def test_a_mistake_is_named_with_its_place(read, text, parts):
    with expect_error("`input`", *parts):
        read(text, "input")


def test_frames_and_percentages_out_of_order_are_named_once_the_length_is_known():
    points = read_frame_curve("12: 1, 50%: 0", "frame_curve")
    assert place_points(points, 40)[1].position == 20
    with expect_error("50% (frame 8)", "a frame after 12"):
        place_points(points, 16)


def test_values_of_sites():
    assert read_site_values("down.1: 0.5\uff0cmid\uff1a0\n up.*: 1.2", "sites") == (
        ("down.1", 0.5),
        ("mid", 0.0),
        ("up.*", 1.2),
    )
    assert read_site_values(" ", "sites") == read_frame_curve("", "frame_curve") == ()
