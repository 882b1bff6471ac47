"""The likeness of frames to their picture: PIA's tables, and curves."""

from itertools import pairwise

import pytest
import torch
from animatediff_loom.sampling.image_to_video.affinity import TABLES, list_affinities, look_up
from animatediff_loom.sampling.image_to_video.pictures import ClipPictures
from animatediff_loom.sampling.steering.curves import read_frame_curve
from diffusers.pipelines.deprecated.pia.pipeline_pia import prepare_mask_coef_by_statistics

from tests.support.texts import expect_error

RANGES_OF_DIFFUSERS = (
    *("small", "moderate", "large", "loop, small", "loop, moderate", "loop, large"),
    *("style, small", "style, moderate", "style, large"),
)


def pictures(*frames: int, length: int = 16, strengths: tuple[float, ...] = ()) -> ClipPictures:
    latents = torch.zeros(len(frames), 4, 8, 8)
    return ClipPictures(length, frames, strengths or (1.0,) * len(frames), latents)


@pytest.mark.parametrize(
    ("motion", "values"),
    (
        ("small", [1, 0.9, 0.85, 0.85, 0.85, 0.8, *[0.8] * 10]),
        ("moderate", [1, 0.8, 0.8, 0.8, 0.79, 0.78, 0.75, *[0.75] * 9]),
        ("large", [1, 0.8, *[0.7] * 8, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5]),
        ("loop, small", [1, 0.9, 0.85, 0.85, 0.85, *[0.8] * 7, 0.85, 0.85, 0.9, 1]),
        ("loop, moderate", [1, 0.8, 0.8, 0.8, 0.79, 0.78, *[0.75] * 5, 0.78, 0.79, 0.8, 0.8, 1]),
        ("loop, large", [1, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5, 0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.8, 1]),
        ("style, large", [0.5, *[0.2] * 15]),
        ("style, moderate", [0.5, 0.4, 0.4, 0.4, 0.35, 0.35, 0.3, 0.25, 0.2, *[0.2] * 7]),
        ("style, small", [0.5, 0.4, 0.4, 0.4, 0.35, 0.3, *[0.3] * 10]),
    ),
)
def test_the_tables_of_the_paper(motion, values):
    assert list(list_affinities(pictures(0), motion)) == pytest.approx(values, abs=0)


@pytest.mark.parametrize(("number", "motion"), enumerate(RANGES_OF_DIFFUSERS))
@pytest.mark.parametrize("frame", (0, 5, 15))
def test_diffusers_has_the_same_for_any_reference_frame(number, motion, frame):
    assert set(RANGES_OF_DIFFUSERS) == set(TABLES)
    assert list(list_affinities(pictures(frame), motion)) == prepare_mask_coef_by_statistics(16, frame, number)


@pytest.mark.parametrize("frames", (8, 16, 17, 64))
def test_a_loop_of_any_length_returns_to_its_picture(frames):
    values = [look_up("loop, large", frame, frames) for frame in range(frames)]
    assert values == pytest.approx(values[::-1], abs=1e-9)
    assert values[0] == values[-1] == 1 and min(values) < 0.6
    assert max(abs(a - b) for a, b in pairwise(values)) <= 0.2 * 15 / (frames - 1) + 1e-9


def test_frames_follow_the_nearest_picture_by_its_strength():
    both = pictures(0, 7, length=8, strengths=(1.0, 0.5))
    assert list(list_affinities(both, "moderate")) == pytest.approx([1, 0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.5])


def test_a_curve_over_the_frames_of_the_clip():
    curve = read_frame_curve("0: 1, 4: 0.6, 100%: 0.8", "affinity_curve")
    assert list(list_affinities(pictures(0, length=5), "curve", curve[:2])) == pytest.approx([1, 0.9, 0.8, 0.7, 0.6])
    assert list_affinities(pictures(3, length=9), "curve", curve)[8] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("text", "fault"),
    (("", "`affinity_curve` is empty"), ("0: 1, 8: 1.5", "has the value 1.5. Use values from 0 (free) to 1")),
)
def test_curves_without_sense_are_refused(text, fault):
    with expect_error(fault):
        list_affinities(pictures(0), "curve", read_frame_curve(text, "affinity_curve"))
