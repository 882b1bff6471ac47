"""Published poses are read with line numbers in errors, and written in the same format."""

import pytest
import torch
from animatediff_loom.sampling.camera.keyframes import follow_keyframes
from animatediff_loom.sampling.camera.pose_text import read_poses, write_poses

from tests.support.texts import expect_error

IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0"
TURNED = "0.0 0.0 1.0 0.25 0.0 1.0 0.0 -0.5 -1.0 0.0 0.0 2.0"
HEADING = "https://www.youtube.com/watch?v=example"
TEXT = f"{HEADING}\n90 0.5 0.8 0.5 0.5 0 0 {IDENTITY}\n\n123 0.6 0.9 0.4 0.5 0 0  {TURNED}\n"


def test_each_line_is_a_camera():
    path = read_poses(TEXT, 2, 3.0)
    assert path.lenses.tolist() == [[0.5, 0.8, 0.5, 0.5], [0.6, 0.9, 0.4, 0.5]]
    assert path.poses[1].tolist() == [[0, 0, 1, 0.25], [0, 1, 0, -0.5], [-1, 0, 0, 2]]
    assert path.subject.tolist() == [0, 0, 3]
    assert path.source_size == (1280, 720)


def test_the_heading_may_be_missing_and_further_lines_stay():
    assert read_poses(TEXT.partition("\n")[2] + "not read", 2, 1.0).frames == 2
    assert read_poses(TEXT, 1, 1.0).frames == 1


def test_a_size_instead_of_the_zeros_is_that_of_the_source():
    assert read_poses(TEXT.replace("0.5 0 0 1", "0.5 640 480 1"), 2, 1.0).source_size == (640, 480)


@pytest.mark.parametrize("size", [(0, 0), (640, 480)])
def test_a_path_that_is_written_and_read_again_is_the_same(size):
    written = follow_keyframes("100%: pan 30, tilt 10, roll -20, zoom 1.5, orbit 45, dolly 0.7", 7, "ease_in", 2.0)
    text = write_poses(written).replace("0.5 0.5 0 0", f"0.5 0.5 {size[0]} {size[1]}")
    read = read_poses(text, 7, 2.0)
    assert torch.allclose(read.poses, written.poses, atol=1e-8)
    assert torch.allclose(read.lenses, written.lenses, atol=1e-8)
    assert torch.allclose(read.subject, written.subject, atol=1e-8)
    assert write_poses(read) == text
    assert all(len(line.split()) == 19 for line in text.splitlines()[1:])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (TEXT, ["`poses` has 2 poses, but `frames` is 3"]),
        ("", ["`poses` has 0 poses"]),
        (TEXT.replace("0.25", "0.25x"), ["'0.25x' in line 4", "19 numbers"]),
        (TEXT.replace("0.25", "nan"), ["'nan' in line 4"]),
        (TEXT.replace("-0.5 ", ""), ["18 numbers in line 4", "3 x 4 matrix"]),
        (TEXT.replace("0.6 0.9", "0 0.9"), ["the focal lengths 0 and 0.9 in line 4", "above 0"]),
        (TEXT.replace("1.0 0.25", "2.0 0.25"), ["not a rotation in line 4"]),
        (TEXT.replace("1.0 0.25", "-1.0 0.25"), ["not a rotation in line 4"]),
        (f"{HEADING}\n{HEADING}\n", [f"'{HEADING[:20]}", "in line 2"]),
    ],
)
def test_a_malformed_text_is_refused_with_its_line(text, parts):
    with expect_error(*parts):
        read_poses(text, 3, 2.0)
