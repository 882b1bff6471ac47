"""Frames of the pictures of SparseCtrl: lists, spreads, and what a context window sees of them."""

import pytest
from animatediff_loom.sampling.sparse_control.places import (
    CENTRE,
    ENDING,
    SPREADS,
    STARTING,
    UNIFORM,
    PicturePlaces,
    parse_frame_numbers,
    spread_frames,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.support.texts import expect_error

VECTORS = {  # of the most used pack, and of the demos of the authors: [0, 5, 10, 15] of 16 frames
    (UNIFORM, 4, 16): [0, 5, 10, 15],
    (UNIFORM, 3, 16): [0, 7, 15],
    (UNIFORM, 1, 16): [0],
    (STARTING, 1, 16): [0],
    (STARTING, 3, 16): [0, 5, 10],
    (ENDING, 1, 16): [15],
    (ENDING, 3, 16): [5, 10, 15],
    (CENTRE, 1, 16): [7],
    (CENTRE, 2, 16): [5, 10],
    (CENTRE, 15, 16): list(range(15)),
    (CENTRE, 16, 16): list(range(16)),
}


@pytest.mark.parametrize(("spread", "pictures", "total"), VECTORS)
def test_spreads(spread, pictures, total):
    assert spread_frames(pictures, total, spread) == VECTORS[spread, pictures, total]


@given(st.sampled_from(SPREADS), st.integers(1, 40), st.integers(0, 40))
def test_a_spread_has_a_frame_of_its_own_for_every_picture(spread, pictures, more):
    frames = spread_frames(pictures, pictures + more, spread)
    assert len(frames) == pictures and frames == sorted(set(frames))
    assert frames[0] >= 0 and frames[-1] < pictures + more


@pytest.mark.parametrize("text", ["0, 8, -1", "0,8,-1", " 0 8\n-1 ", "0\uff0c8\u3001-1"])
def test_lists_of_frame_numbers(text):
    assert parse_frame_numbers(text) == (0, 8, -1)
    assert PicturePlaces(3, (0, 8, -1)).find(16) == {0: 0, 8: 1, 15: 2}


@pytest.mark.parametrize(
    ("text", "quoted"), [("", "is empty"), ("0, 1.5", "'1.5'"), ("0:4", "'0:4'"), ("9" * 50, "999")]
)
def test_what_is_no_list_is_refused(text, quoted):
    with expect_error("`frame_numbers`", quoted):
        parse_frame_numbers(text)


@pytest.mark.parametrize(
    ("frames", "quoted"), [((0, 16), "has 16"), ((-17,), "has -17"), ((0, 15, -1), "frame 15 twice")]
)
def test_frames_that_the_clip_does_not_have_are_refused(frames, quoted):
    with expect_error("`frame_numbers`", quoted, "16 frames"):
        PicturePlaces(len(frames), frames).find(16)


def test_more_pictures_than_frames_are_refused():
    with expect_error("5 pictures", "4 frames"):
        PicturePlaces(5).find(4)


WINDOWS = {
    "with a picture": (range(4), {0: 0}),
    "that wraps around": ((14, 15, 0, 1), {2: 0}),
    "after the pictures": (range(12, 16), {0: 1}),
    "between them, nearer to the second": (range(3, 7), {3: 1}),
    "between them, as near to both": (range(2, 7), {0: 0, 4: 1}),
    "with every second frame": ((1, 3, 5, 7), {0: 0, 3: 1}),
}


@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_without_a_picture_gets_the_nearest_one(window):
    frames, expected = WINDOWS[window]
    assert PicturePlaces(2, (0, 8)).choose(list(frames), 16) == expected


def test_a_window_without_a_picture_can_stay_without():
    assert PicturePlaces(2, (0, 8), reaches_windows=False).choose([3, 4, 5], 16) == {}
