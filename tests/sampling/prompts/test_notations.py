"""Schedules in the notations of other packs: what they mean, and the line that a half notation stands for."""

import json
import re
import time
from pathlib import Path

import pytest
from animatediff_loom.sampling.prompts.schedule import (
    Blend,
    KeyPrompt,
    PromptScheduleError,
    check_schedule,
    format_table,
    join_prompts,
    parse_schedule,
    plan_blends,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.support.texts import expect_error

CASES = json.loads(Path(__file__).with_name("schedule_cases.json").read_text(encoding="utf-8"))
READ, REFUSED, MEANT = CASES["read"], CASES["refused"], CASES["meant"]


def name(case: dict) -> str:
    return case["name"]


def keys_of(text: str, frames: int = 16) -> list[list]:
    """Return first and last frame, prompt and negative prompt of every key."""
    return [[key.first, key.last, key.prompt, key.negative] for key in parse_schedule(text, frames)]


@pytest.mark.parametrize("case", READ, ids=name)
def test_a_published_notation_is_read_as_it_is(case):
    assert keys_of(case["text"]) == [[*key, ""][:4] for key in case["keys"]]
    check_schedule(case["text"])


@pytest.mark.parametrize("case", READ, ids=name)
def test_files_of_a_windows_editor_have_the_same_meaning(case):
    saved = "\ufeff" + case["text"].replace("\n", "\r\n") + "\r\n"
    assert keys_of(saved) == keys_of(case["text"])


@pytest.mark.parametrize("case", [*REFUSED, *MEANT], ids=name)
def test_a_mistake_is_named_with_its_place_and_what_to_write(case):
    with expect_error(
        f"has {case['actual']} in line {case['place'][0]}, column {case['place'][1]}. Write {case['write']}"
    ):
        parse_schedule(case["text"], 16)
    with expect_error(f"Write {case['write']}"):
        check_schedule(case["text"])


@pytest.mark.parametrize("case", MEANT, ids=name)
def test_with_the_lines_of_the_errors_the_text_is_read(case):
    """Write what each error says into its line, until there is no error."""
    lines = case["text"].split("\n")
    for _ in range(len(lines) + 1):
        try:
            keys = keys_of("\n".join(lines))
        except PromptScheduleError as error:
            line, meant = re.search(r"in line (\d+), .*?Write [^`]*`(.*)`\.$", str(error)).groups()
            lines[int(line) - 1] = meant
        else:
            break
    assert keys == [[*key, ""][:4] for key in case["keys"]]


def test_without_flags_nothing_is_negative():
    prompts, negatives = join_prompts(parse_schedule("0: a\n8: b", 16), "best", "sharp")
    assert prompts == ["best, a, sharp", "best, b, sharp"] and negatives == ["", ""]


def test_negative_prompts_of_text_prefix_and_suffix_are_joined_like_the_prompts():
    keys = parse_schedule("photo --neg drawing\n0: a --neg b\n8: c\nred --neg blue", 16)
    assert join_prompts(keys, "best --neg worst", "sharp --neg blurry") == (
        ["best, photo, a, red, sharp", "best, photo, c, red, sharp"],
        ["worst, drawing, b, blue, blurry", "worst, drawing, blue, blurry"],
    )


def test_a_negative_prompt_alone_may_change():
    keys = parse_schedule("0: a --neg b\n4: a --neg c", 8)
    assert plan_blends(keys, 8)[1] == Blend(0, 1, 0.25)
    assert format_table(keys, 5).splitlines()[1:3] == ["0: a --neg b", "1: 75% a --neg b | 25% a --neg c"]


@pytest.mark.parametrize("affix", ("prefix", "suffix"))
def test_mistakes_in_prefix_and_suffix_name_the_input(affix):
    keys = parse_schedule("0: a", 4)
    with expect_error(f"`{affix}` has a second '--neg' in line 2, column 3"):
        join_prompts(keys, **{affix: "b --neg c\nd --neg e"})
    with expect_error(f"`{affix}` has the expression 't/10' in line 1, column 4"):
        join_prompts(keys, **{affix: "(b:`t/10`)"})


def test_a_line_end_in_quotes_is_one_line_of_the_table():
    assert format_table(parse_schedule('"0": "a\\nb"', 1), 1) == "0: a b"


@pytest.mark.parametrize(
    "text",
    (
        " " * 200_000 + "0: a",
        "0" + " " * 200_000 + ": a",
        "0: " + '"' + "a , " * 100_000,
        '"0": "' + "a" * 500_000,
        '"0"' + " " * 200_000,
        "0: a\n" + "1 " * 200_000,
        "0: a\n" + "# " * 200_000 + "\n" + "\n" * 200_000,
        "{" * 200_000,
        "9" * 200_000 + ": a",
        '"' * 200_000,
        "0: " + "\\" * 200_000 + '"',
    ),
    ids=range(11),
)
def test_huge_texts_take_no_time_and_give_short_errors(text):
    start = time.process_time()
    try:
        parse_schedule(text, 16)
    except PromptScheduleError as error:
        assert len(str(error)) < 600
    assert time.process_time() - start < 2


PIECES = st.sampled_from(
    ('"0"', '"8"', '"a"', "0", ":", "=", ",", "{", "}", "\n", " ", "--neg", "a", '"', "\u201c", "#")
)


@given(st.lists(PIECES, max_size=14).map("".join))
def test_any_text_in_quotes_is_read_or_refused_at_its_place(text):
    try:
        keys = parse_schedule(text, 16)
    except PromptScheduleError as error:
        line, column = map(int, re.search(r"in line (\d+), column (\d+)\. Write ", str(error)).groups())
        assert 1 <= line <= text.count("\n") + 1 and 1 <= column <= len(text.split("\n")[line - 1]) + 1
    else:
        assert all(isinstance(key, KeyPrompt) and 0 <= key.first <= key.last for key in keys)


TEXTS = st.text(st.sampled_from('ab (:1.2)"\\,\u201c\u00e9\U0001f600{}'), max_size=8).map(str.strip)


@given(st.dictionaries(st.integers(0, 99), TEXTS, min_size=1, max_size=5), st.booleans(), st.sampled_from((None, 1)))
def test_every_json_object_of_frames_and_prompts_is_read(prompts, ascii, indent):
    text = json.dumps({str(frame): prompt for frame, prompt in prompts.items()}, ensure_ascii=ascii, indent=indent)
    expected = [[frame, frame, prompt, ""] for frame, prompt in sorted(prompts.items())]
    assert keys_of(text, 100) == expected
    assert keys_of(text[1:-1], 100) == expected
