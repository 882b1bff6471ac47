"""What a prompt schedule means, and what is said about a mistake in it."""

import pytest
from animatediff_loom.sampling.prompt_schedule import EASINGS, Blend, Key, blends, parse_schedule, table
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

TRAVEL = """
# from the sea to the hills
0: a boat: at sea, (waves:1.2)
...
12-20: a beach, embedding:summer
100%: green hills
"""


def test_lines_ranges_percentages_and_comments():
    assert parse_schedule(TRAVEL, 33) == [
        Key(0, 0, "a boat: at sea, (waves:1.2)", blends=True),
        Key(12, 20, "a beach, embedding:summer"),
        Key(32, 32, "green hills"),
    ]


def test_a_prompt_is_held_over_its_range_and_blended_between():
    between = blends(parse_schedule(TRAVEL, 33), 33)
    assert between[0] == Blend(0, 0, 0.0)
    assert between[3] == Blend(0, 1, 0.25)
    assert between[12:21] == [Blend(1, 1, 0.0)] * 9
    assert between[26] == Blend(1, 2, 0.5)
    assert between[32] == Blend(2, 2, 0.0)


def test_frames_before_the_first_prompt_and_behind_the_last_have_these():
    between = blends(parse_schedule("4: one\n8: two", 16), 16)
    assert between[:5] == [Blend(0, 0, 0.0)] * 5
    assert between[8:] == [Blend(1, 1, 0.0)] * 8


def test_hold_changes_at_once_except_where_dots_blend():
    between = blends(parse_schedule(TRAVEL, 33), 33, "hold")
    assert between[6] == Blend(0, 1, 0.5)
    assert between[21:32] == [Blend(1, 1, 0.0)] * 11
    assert between[32] == Blend(2, 2, 0.0)


@given(st.sampled_from(sorted(set(EASINGS) - {"hold"})), st.integers(2, 200))
def test_every_easing_rises_from_one_prompt_to_the_other(easing, frames):
    between = blends(parse_schedule("0: one\n100%: two", frames), frames, easing)
    shares = [blend.t if blend.before != blend.after else float(blend.after) for blend in between]
    assert shares[0] == 0 and shares[-1] == 1
    assert shares == sorted(shares)


def test_the_table_names_every_frame():
    lines = table(parse_schedule("0: one\n4: two", 6), 6).splitlines()
    assert lines[0] == "0: one" and lines[1] == "1: 75% one | 25% two" and lines[5] == "5: two"


@pytest.mark.parametrize(
    ("text", "found", "place", "expected"),
    (
        ("", "nothing", "line 1, column 1", "a line such as '0: a red circle'"),
        ("# only this", "nothing", "line 1, column 1", "a line such as"),
        ("0: one\nthen: two", "'then: two'", "line 2, column 1", "a frame number or a percentage"),
        ("0 one", "'one'", "line 1, column 3", "a dash or a colon"),
        ("0-4-8: one", "'-8: one'", "line 1, column 4", "a colon"),
        ("0-: one", "': one'", "line 1, column 3", "a frame number or a percentage"),
        ("0:", "nothing", "line 1, column 3", "a prompt"),
        ("0", "the end of the line", "line 1, column 2", "a dash or a colon"),
        ("8-4: one", "4", "line 1, column 1", "a range that ends behind 8"),
        ("0-4: one\n4: two", "4", "line 2, column 1", "a frame behind 4"),
        ("16: one", "16", "line 1, column 1", "a frame below 16"),
        ("0: one\n 101%: two", "101%", "line 2, column 2", "at most 100%"),
        ("1.5: one", "1.5", "line 1, column 1", "a whole frame number"),
        ("...\n0: one", "dots", "line 1, column 1", "a prompt before the dots"),
    ),
)
def test_mistakes(text, found, place, expected):
    with refused(f"has {found} in {place}", f"expected {expected}"):
        parse_schedule(text, 16)


@given(st.text("0123456789-:%. #ab\n", max_size=60), st.integers(1, 40))
def test_any_text_is_understood_or_refused(text, frames):
    try:
        keys = parse_schedule(text, frames)
    except ValueError as error:
        assert "expected" in str(error)
        return
    assert all(0 <= key.first <= key.last < frames and key.prompt for key in keys)
    assert len(blends(keys, frames)) == frames
