"""Video metrics give the numbers that a clip was made with: known motion, flicker, loops, seams and drift."""

import json

import folder_paths
import pytest
import torch
import torch.nn.functional as F
from animatediff_loom.inspection.figures.figure import WIDTH
from animatediff_loom.inspection.metrics.colour import convert_to_lab
from animatediff_loom.inspection.metrics.measure import find_window_borders, measure_video
from animatediff_loom.inspection.metrics.optical_flow import estimate_flow, warp
from animatediff_loom.inspection.metrics.picture import describe, draw
from animatediff_loom.inspection.metrics.video_metrics import VideoMetrics
from animatediff_loom.nodes.video_metrics import VideoMetricsNode
from hypothesis import given
from hypothesis import strategies as st

from tests.support.texts import expect_error

SIZE = 96


def texture(size: int = 2 * SIZE, seed: int = 0, grain: int = 8) -> torch.Tensor:
    """`[3, size, size]` of smooth random colours."""
    noise = torch.rand(1, 3, size // grain, size // grain, generator=torch.Generator().manual_seed(seed))
    return 0.1 + 0.7 * F.interpolate(noise, size=(size, size), mode="bicubic").clamp(0, 1)[0]


def panning(frames: int, x: float, y: float = 0.0) -> torch.Tensor:
    """`[frames, SIZE, SIZE, 3]`: a texture that moves by whole pixels per frame."""
    whole = texture()
    starts = [(round(SIZE // 2 - y * t), round(SIZE // 2 - x * t)) for t in range(frames)]
    return torch.stack([whole[:, a : a + SIZE, b : b + SIZE] for a, b in starts]).movedim(1, -1)


def still(frames: int) -> torch.Tensor:
    return panning(frames, 0)


@pytest.mark.parametrize(("x", "y"), [(1, 0), (3, -2), (-6, 4), (0, 9)])
def test_flow_is_the_motion_of_the_picture(x, y):
    first, second = panning(2, x, y).mean(dim=3)[:, None].split(1)
    flow = estimate_flow(first, second)
    assert flow[0, :, 16:-16, 16:-16].flatten(1).median(dim=1).values.tolist() == pytest.approx([x, y], abs=0.2)
    assert float(flow.norm(dim=1).mean()) == pytest.approx((x**2 + y**2) ** 0.5, rel=0.15)
    assert (warp(second, flow) - first).abs().mean() < 0.2 * (second - first).abs().mean()


def test_motion_is_in_pixels_of_the_picture():
    small = panning(3, 2)
    large = F.interpolate(small.movedim(-1, 1), scale_factor=4, mode="bicubic").movedim(1, -1)
    assert measure_video(small).motion == pytest.approx(2, rel=0.1)
    assert measure_video(large).motion == pytest.approx(8, rel=0.1)
    assert measure_video(large).fast_motion >= measure_video(large).motion


def test_a_still_clip_has_nothing():
    metrics = measure_video(still(5))
    assert (metrics.change, metrics.motion, metrics.loop_change) == (0, 0, 0)
    assert metrics.flicker < 1e-6
    assert metrics.loop_gap is None and metrics.largest_jump is None
    assert metrics.colour_drift == pytest.approx(0, abs=1e-4)
    assert "nothing changes" in describe(metrics)


def test_the_change_of_a_loop_is_measured_as_every_other_change():
    """Values outside 0 to 1 count as 0 or 1, in every format of numbers."""
    clip = torch.full((4, 16, 16, 3), 0.5)
    clip[0], clip[2] = -1.0, 3.0
    for images in (clip, clip.half()):
        metrics = measure_video(images)
        assert metrics.changes == pytest.approx((0.5, 0.5, 0.5), abs=1e-6)
        assert metrics.loop_change == pytest.approx(0.5, abs=1e-6)


def test_brightness_that_comes_and_goes_is_flicker_and_no_motion():
    steady, flickering = panning(9, 2), still(9)
    flickering[1::2] += 0.05
    metrics = measure_video(flickering)
    assert metrics.flicker == pytest.approx(0.05, rel=0.05)
    assert metrics.motion < 0.05
    assert measure_video(steady).change > 0.02
    assert measure_video(steady).flicker < 0.25 * measure_video(steady).change


def test_motion_with_flicker_has_both():
    clip = panning(7, 3)
    clip[1::2] += 0.04
    metrics = measure_video(clip)
    assert metrics.motion == pytest.approx(3, rel=0.15)
    assert metrics.flicker == pytest.approx(0.04, rel=0.25)


def test_a_loop_closes_and_a_pan_does_not():
    pan = panning(8, 2)
    there_and_back = torch.cat((pan, pan[1:-1].flip(0)))
    assert measure_video(there_and_back).loop_gap == pytest.approx(1, abs=0.2)
    assert measure_video(pan).loop_gap > 3
    assert measure_video(torch.cat((there_and_back, there_and_back[:1]))).loop_gap == 0


def test_seams_at_the_borders_of_windows():
    clip = panning(40, 1)
    assert find_window_borders(40, 16, 4) == (11, 15, 23, 27)
    assert measure_video(clip, 16, 4).seam == pytest.approx(1, abs=0.1)
    clip[12:] = (clip[12:] + 0.2).clamp(max=1)
    metrics = measure_video(clip, 16, 4)
    assert metrics.seam > 2
    assert metrics.largest_step == 11
    assert measure_video(clip, 16, 4).changes == measure_video(clip).changes
    assert measure_video(clip).seam is None


@given(st.integers(2, 60), st.integers(1, 20), st.integers(0, 19))
def test_borders_lie_between_frames(frames, length, overlap):
    borders = find_window_borders(frames, length, min(overlap, length - 1))
    assert all(0 <= step < frames - 1 for step in borders)
    assert bool(borders) == (frames > length)


def test_colours_are_those_of_the_standard():
    """White, black, and sRGB's red and blue (Lindbloom's calculator, D65)."""
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]])[:, :, None, None]
    expected = torch.tensor([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]])
    assert convert_to_lab(colours)[..., 0, 0] == pytest.approx(expected, abs=0.05)


def test_drift_of_colour():
    grey = torch.full((16, 32, 32, 3), 0.5)
    brighter = grey + torch.linspace(0, 0.2, 16).view(-1, 1, 1, 1)
    redder = grey.clone()
    redder[:, ..., 1:] -= torch.linspace(0, 0.2, 16).view(-1, 1, 1, 1)
    assert measure_video(grey).colour_drift == 0
    up, red = measure_video(brighter), measure_video(redder)
    assert up.brightness_drift == pytest.approx(up.colour_drift, rel=1e-3) and up.brightness_drift > 10
    assert abs(up.saturation_drift) < 0.1
    assert red.saturation_drift > 10 and red.brightness_drift < 0
    assert measure_video(brighter.flip(0)).brightness_drift == pytest.approx(-up.brightness_drift, abs=1e-3)


def test_long_clips_are_measured_in_parts():
    """The parts, of 8 steps each, join without a gap."""
    clip = panning(20, 1)
    whole, end = measure_video(clip), measure_video(clip[5:])
    assert len(whole.changes) == 19 and len(whole.colours) == 20
    assert whole.changes[5:] == pytest.approx(end.changes)
    assert whole.flickers[5:] == pytest.approx(end.flickers, abs=1e-6)
    assert torch.tensor(whole.colours[5:]) == pytest.approx(torch.tensor(end.colours), abs=1e-4)


def test_alpha_does_not_count():
    clip = panning(3, 1)
    with_alpha = torch.cat((clip, torch.rand(3, SIZE, SIZE, 1)), dim=-1)
    assert measure_video(with_alpha).colours == measure_video(clip).colours
    assert measure_video(with_alpha).change == pytest.approx(measure_video(clip).change)


@pytest.mark.parametrize(
    ("images", "windows", "parts"),
    [
        (torch.rand(1, 8, 8, 3), (), ["`images`", "[1, 8, 8, 3]", "at least 2"]),
        (torch.rand(4, 8, 8), (), ["`images`", "[4, 8, 8]"]),
        (torch.full((3, 8, 8, 3), float("nan")), (), ["Frame 0", "NaN", "Sampling Report"]),
        (torch.rand(9, 8, 8, 3), (4, 4), ["`context_overlap` is 4", "`context_length` is 4"]),
    ],
)
def test_what_has_no_metrics_is_refused(images, windows, parts):
    with expect_error(*parts):
        measure_video(images, *windows)


def test_tiny_pictures_are_measured():
    metrics = measure_video(torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(0)))
    assert metrics.frames == 2 and metrics.change > 0


def test_json_holds_every_number():
    metrics = measure_video(panning(6, 1), 4, 1)
    read = json.loads(metrics.to_json())
    assert read["numbers"]["seam"] == metrics.seam
    assert read["changes"] == list(metrics.changes)
    assert len(read["colours"]) == 6 and read["borders"] == list(metrics.borders)


def made_up(frames: int) -> VideoMetrics:
    borders = (frames // 3,) if frames > 2 else ()
    steps = tuple(0.01 * (step % 7) for step in range(frames - 1))
    return VideoMetrics(64, 64, steps, steps, steps, steps, 0.3, ((50.0, 1.0, 2.0, 3.0),) * frames, borders)


@pytest.mark.parametrize("frames", [2, 3, 16, 500])
def test_the_picture_is_bounded(frames):
    image = draw(made_up(frames))
    assert image.shape[0] == 1 and image.shape[2] == WIDTH and image.shape[1] < 1200
    assert 0 <= float(image.min()) < float(image.max()) <= 1


def test_the_node_shows_text_and_plots(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    output = VideoMetricsNode.execute(panning(6, 2), 4, 1)
    text, plots, numbers = output.result
    assert text.startswith("clip: 6 frames, 96 x 96\nflicker: ")
    assert plots.shape[0] == 1 and json.loads(numbers)["numbers"]["motion"] == pytest.approx(2, rel=0.15)
    assert output.ui["text"] == (text,)
    (saved,) = output.ui["images"]
    assert (tmp_path / saved["filename"]).is_file()
