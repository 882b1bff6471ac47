"""The meaning of prompt schedules, and the errors for mistakes in them."""

import re
import time
from itertools import pairwise

import pytest
from animatediff_loom.sampling.prompts.schedule import (
    EASINGS,
    Blend,
    KeyPrompt,
    PromptScheduleError,
    check_schedule,
    format_table,
    join_affixes,
    parse_schedule,
    plan_blends,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.support.texts import expect_error

TRAVEL = """
# from the sea to the hills
0: a boat: at sea, (waves:1.2)
...
12-20: a beach, embedding:summer
100%: green hills
"""


def test_lines_ranges_percentages_and_comments():
    assert parse_schedule(TRAVEL, 33) == [
        KeyPrompt(0, 0, "a boat: at sea, (waves:1.2)", followed_by_dots=True),
        KeyPrompt(12, 20, "a beach, embedding:summer"),
        KeyPrompt(32, 32, "green hills"),
    ]


def test_a_prompt_is_held_over_its_range_and_blended_between():
    blends = plan_blends(parse_schedule(TRAVEL, 33), 33)
    assert blends[0] == Blend(0, 0, 0.0)
    assert blends[3] == Blend(0, 1, 0.25)
    assert blends[12:21] == [Blend(1, 1, 0.0)] * 9
    assert blends[26] == Blend(1, 2, 0.5)
    assert blends[32] == Blend(2, 2, 0.0)


def test_the_signs_of_a_chinese_keyboard():
    text = "\uff030\n\uff10\uff1a\u5c0f\u8239\n\u2026\u2026\n4\uff5e8\uff1a\u6d77\uff1a\u6ee9\n100\uff05\uff1a\u5c71"
    assert parse_schedule(text, 17) == [
        KeyPrompt(0, 0, "\u5c0f\u8239", followed_by_dots=True),
        KeyPrompt(4, 8, "\u6d77\uff1a\u6ee9"),
        KeyPrompt(16, 16, "\u5c71"),
    ]


@pytest.mark.parametrize("end", ("\n", "\r\n", "\r"))
def test_line_ends_blanks_and_comments(end):
    lines = ("", "// one", "\t# two", "\t0 :\tone \t", "   ", "3 - 5: two")
    assert parse_schedule(end.join(lines), 6) == [KeyPrompt(0, 0, "one"), KeyPrompt(3, 5, "two")]
    with expect_error("in line 6, column 7. Write a prompt"):
        parse_schedule(end.join(lines).removesuffix(" two"), 6)


def test_only_line_ends_separate_lines():
    assert parse_schedule("0: one\x0b\x0c\x85\u2028two", 2) == [KeyPrompt(0, 0, "one\x0b\x0c\x85\u2028two")]


@given(st.integers(1, 100_000), st.integers(0, 10000))
def test_percentages_count_from_the_first_frame_to_the_last(frames, hundredths):
    (key,) = parse_schedule(f"{hundredths / 100}%: one", frames)
    assert abs(key.first - hundredths / 10000 * (frames - 1)) <= 0.5 + 1e-6


def test_half_a_frame_is_rounded_up():
    assert [parse_schedule("50%: one", frames)[0].first for frames in (1, 2, 4, 6, 16)] == [0, 1, 2, 3, 8]


def test_a_clip_of_one_frame():
    assert plan_blends(parse_schedule("0: one", 1), 1) == [Blend(0, 0, 0.0)]
    with expect_error("has 100% (frame 0) in line 2", "Write a frame after 0"):
        parse_schedule("0: one\n100%: two", 1)


def test_frames_before_the_first_prompt_and_behind_the_last_have_these():
    blends = plan_blends(parse_schedule("4: one\n8: two", 16), 16)
    assert blends[:5] == [Blend(0, 0, 0.0)] * 5
    assert blends[8:] == [Blend(1, 1, 0.0)] * 8


def test_hold_changes_at_once_except_where_dots_blend():
    blends = plan_blends(parse_schedule(TRAVEL, 33), 33, "hold")
    assert blends[6] == Blend(0, 1, 0.5)
    assert blends[21:32] == [Blend(1, 1, 0.0)] * 11
    assert blends[32] == Blend(2, 2, 0.0)


@given(st.sampled_from(sorted(set(EASINGS) - {"hold"})), st.integers(2, 200))
def test_every_easing_rises_from_one_prompt_to_the_other(easing, frames):
    blends = plan_blends(parse_schedule("0: one\n100%: two", frames), frames, easing)
    shares = [blend.t if blend.before != blend.after else float(blend.after) for blend in blends]
    assert shares[0] == 0 and shares[-1] == 1
    assert shares == sorted(shares)


def test_on_the_way_to_the_same_prompt_nothing_changes():
    keys = parse_schedule("0: one\n...\n4: one\n8: two", 9)
    assert all(plan_blends(keys, 9, easing)[2] == Blend(0, 0, 0.0) for easing in EASINGS)
    assert plan_blends(keys, 9)[6] == Blend(1, 2, 0.5)
    assert format_table(keys, 9).splitlines()[:5] == [f"{frame}: one" for frame in range(5)]


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    (
        ("", "", "a cat,"),
        (" \n", ",", "a cat,"),
        ("best quality", "", "best quality, a cat"),
        ("best quality,\n", " , sharp", "best quality, a cat, sharp"),
        ("", "embedding:soft", "a cat, embedding:soft"),
    ),
)
def test_prefix_and_suffix_are_joined_by_one_comma(prefix, suffix, expected):
    assert join_affixes(prefix, "a cat,", suffix) == expected


def test_the_table_shows_prefix_and_suffix_once():
    lines = format_table(parse_schedule("0: one", 2), 2, prefix="best\nquality,", suffix="sharp").splitlines()
    assert lines == ["prefix: best quality", "suffix: sharp", "0: one", "1: one"]


def test_shares_in_the_table_are_of_two_decimals():
    line = format_table(parse_schedule("0: one\n3: two", 4), 4).splitlines()[1]
    assert line == "1: 66.67% one | 33.33% two"


def test_the_table_names_every_frame():
    lines = format_table(parse_schedule("0: one\n4: two", 6), 6).splitlines()
    assert lines[0] == "0: one" and lines[1] == "1: 75% one | 25% two" and lines[5] == "5: two"


@pytest.mark.parametrize(
    ("text", "actual", "place", "expected"),
    (
        ("", "nothing", "line 1, column 1", "a line such as '0: a red circle'"),
        ("# only this", "nothing", "line 1, column 1", "a line such as"),
        ("then: two", "'then: two'", "line 1, column 1", "a frame number or a percentage"),
        ("0: one\nthen 2: two", "'then 2: two'", "line 2, column 1", "a frame number or a percentage"),
        ("0 one", "'one'", "line 1, column 3", "a dash or a colon"),
        ("0-4-8: one", "'-8: one'", "line 1, column 4", "a colon"),
        ("0-: one", "': one'", "line 1, column 3", "a frame number or a percentage"),
        ("0:", "nothing", "line 1, column 3", "a prompt"),
        ("0", "the end of the line", "line 1, column 2", "a dash or a colon"),
        ("8-4: one", "4", "line 1, column 3", "a range that ends at 8 or later"),
        ("0-4: one\n 4: two", "4", "line 2, column 2", "a frame after 4"),
        ("4: one\n4: two", "4", "line 2, column 1", "a frame after 4"),
        ("4: one\n0: two", "0", "line 2, column 1", "a frame after 4"),
        ("0: one\n3.1%: two", "3.1% (frame 0)", "line 2, column 1", "a frame after 0"),
        ("1000000001: one", "1000000001", "line 1, column 1", "a frame of up to 1000000000"),
        ("-4: one", "'-4: one'", "line 1, column 1", "a frame number or a percentage"),
        ("  a cat", "'a cat'", "line 1, column 3", "a frame number or a percentage, as in '0: a red circle'"),
        ("0: one\n 101%: two", "101%", "line 2, column 2", "a percentage of up to 100%"),
        (f"{'9' * 400}%: one", f"{'9' * 20}\u2026", "line 1, column 1", "a percentage of up to 100%"),
        ("1.5: one", "1.5", "line 1, column 1", "a whole frame number"),
        ("...\n0: one", "dots", "line 1, column 1", "a prompt before the dots"),
        ("0: one\n ...\n# end", "dots", "line 2, column 2", "another prompt after the dots"),
        ("0: one\n..\n4: two", "'..'", "line 2, column 1", "a frame number"),
    ),
)
def test_mistakes(text, actual, place, expected):
    with expect_error(f"has {actual} in {place}", f"Write {expected}"):
        parse_schedule(text, 16)


@pytest.mark.parametrize("frames", (-1, 0, 100_001))
def test_impossible_lengths(frames):
    remedy = "in parts, with `start_frame`" if frames > 0 else "Set `frames`"
    with expect_error(f"`frames` is {frames}", "1 to 100000", remedy):
        parse_schedule("0: one", frames)


def test_a_schedule_longer_than_the_clip_is_a_remark():
    keys = parse_schedule("0: spring\n8: summer\n16: fall\n32: winter", 16)
    lines = format_table(keys, 16).splitlines()
    assert lines[0] == "remark: the clip has frames 0 to 15 of the schedule; outside it: 16, 32"
    assert lines[1] == "0: spring" and lines[-1] == "15: 12.5% summer | 87.5% fall"
    assert len(lines) == 17


def test_a_remark_names_eight_keyframes_and_counts_the_others():
    text = "\n".join(f"{frame}-{frame + 1}: a" for frame in range(0, 40, 2))
    remark = format_table(parse_schedule(text, 4), 4).splitlines()[0]
    assert remark.endswith("outside it: 4-5, 6-7, 8-9, 10-11, 12-13, 14-15, 16-17, 18-19 and 10 more")


@given(st.integers(0, 40), st.integers(1, 40), st.sampled_from(sorted(EASINGS)))
def test_a_part_of_the_video_has_the_blends_of_the_whole(start_frame, frames, easing):
    text = "4: one\n...\n12-20: two\n33: three\n70: four"
    whole = plan_blends(parse_schedule(text, 80), 80, easing)
    part = plan_blends(parse_schedule(text, frames, start_frame), frames, easing, start_frame)
    assert part == whole[start_frame : start_frame + frames]


def test_a_lora_of_the_web_ui_is_a_remark():
    lines = format_table(parse_schedule("1girl, <lora:line:0.7>\n0: one\n1: two", 2), 2).splitlines()
    assert lines[0] == "remark: <lora:line:0.7> is read as text; load LoRAs with Load LoRA"
    assert lines[1] == "0: 1girl, <lora:line:0.7>, one"


def test_a_remark_says_where_negative_prompts_take_effect():
    remark, line = format_table(parse_schedule("0: one --neg two", 1), 1).splitlines()
    assert remark.startswith("remark: connect the output negative to the sampler") and line == "0: one --neg two"
    assert remark in format_table(parse_schedule("0: one", 1), 1, suffix="three --neg four")


def test_a_part_of_the_video_is_numbered_as_the_schedule():
    lines = format_table(parse_schedule("0: one\n4: two", 2, 2), 2, start_frame=2).splitlines()
    assert lines == [
        "remark: the clip has frames 2 to 3 of the schedule; outside it: 0, 4",
        "2: 50% one | 50% two",
        "3: 25% one | 75% two",
    ]


@pytest.mark.parametrize("text", ("0: one\n50%: two", '"0": "one", "-1": "two"', '"0.5": "one"'))
def test_a_part_of_a_video_of_unknown_length_has_no_percentages(text):
    parse_schedule(text, 16)
    with expect_error("Write a frame number, since `start_frame` is 8"):
        parse_schedule(text, 16, 8)


@pytest.mark.parametrize("start_frame", (-1, 10**9 + 1))
def test_impossible_starts(start_frame):
    with expect_error(f"`start_frame` is {start_frame}", "from 0 to 1000000000"):
        parse_schedule("0: one", 16, start_frame)


@pytest.mark.parametrize(
    ("text", "expected"),
    (
        ("4: one\n0: two", "a frame after 4"),
        ("50%: one\n40%: two", "a frame after 50000"),
        ("0: one\n50%: two\nthen 8: three", "a frame number"),
    ),
)
def test_what_the_length_does_not_change_is_checked_without_it(text, expected):
    with expect_error(f"Write {expected}"):
        check_schedule(text)


@pytest.mark.parametrize("text", ("0: one\n3%: two", "8: one\n9%: two", "200: one\n10%: two", "0: one\n99999: two"))
def test_what_depends_on_the_length_is_not_checked_without_it(text):
    check_schedule(text)


def test_a_hundred_thousand_frames_take_no_time():
    text = "\n".join(f"{frame}: {frame}" for frame in range(0, 100_000, 10))
    start = time.process_time()
    keys = parse_schedule(text, 100_000)
    assert len(format_table(keys, 100_000).splitlines()) == 100_000
    assert time.process_time() - start < 10


LINES = st.lists(
    st.from_regex(r"[ \t]?(\d{1,2}%?(-\d{1,2}%?)?: ?[ab:.#%\-]{0,3}|\.{3}|#a|[0-9a:%. \-]{0,6})", fullmatch=True),
    max_size=6,
)


@given(LINES, st.integers(1, 40), st.sampled_from(sorted(EASINGS)))
def test_any_text_is_understood_or_refused_at_its_place(lines, frames, easing):
    try:
        keys = parse_schedule("\n".join(lines), frames)
    except PromptScheduleError as error:
        line, column = map(int, re.search(r"in line (\d+), column (\d+)\. Write ", str(error)).groups())
        assert 1 <= line <= max(len(lines), 1) and 1 <= column <= len([*lines, ""][line - 1]) + 1
        return
    assert all(0 <= key.first <= key.last and key.prompt for key in keys)
    assert all(one.last < other.first for one, other in pairwise(keys))
    blends = plan_blends(keys, frames, easing)
    assert len(blends) == frames and all(0 <= blend.t < 1 for blend in blends)
    held = [(frame, number) for number, key in enumerate(keys) for frame in range(key.first, key.last + 1)]
    held = [(frame, number) for frame, number in held if frame < frames]
    assert all(keys[blends[frame].before].prompt == keys[number].prompt for frame, number in held)
    assert all(blends[frame].t == 0 for frame, _ in held)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=6, unique=True).map(sorted), st.data())
def test_what_is_written_is_what_is_read(firsts, data):
    prompts = [data.draw(st.from_regex(r"[a-z(#/:][a-z(:1.2) ,#/-]{0,8}[a-z)]", fullmatch=True)) for _ in firsts]
    text = "\n".join(f"{first}: {prompt}" for first, prompt in zip(firsts, prompts, strict=True))
    assert [(key.first, key.last, key.prompt) for key in parse_schedule(text, 100)] == [
        (first, first, prompt) for first, prompt in zip(firsts, prompts, strict=True)
    ]
