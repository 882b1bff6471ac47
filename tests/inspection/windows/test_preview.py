"""The picture of context windows shows every frame of every step, in brightness what it counts, in bounded size."""

from itertools import pairwise

import folder_paths
import numpy
import pytest
import torch
from animatediff_loom.inspection.figures.style import HUES, dim
from animatediff_loom.inspection.windows.picture import MAX_HEIGHT, MAX_ROWS, MAX_WIDTH, MIN_WIDTH, draw
from animatediff_loom.inspection.windows.preview import Preview, plan_preview
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.nodes.context_preview import PreviewContextWindows
from animatediff_loom.sampling.windows.fusion import FUSIONS
from animatediff_loom.sampling.windows.schedules import WindowLayout
from animatediff_loom.sampling.windows.settings import SCHEDULE_NAMES, ContextSettings
from animatediff_loom.sampling.windows.tiles import TileLayout
from hypothesis import given, settings
from hypothesis import strategies as st


@st.composite
def context_settings(draw):
    length = draw(st.integers(1, 24))
    stride, closed = draw(st.integers(1, 4)), draw(st.booleans())
    windows = WindowLayout(length, draw(st.integers(0, length - 1)), stride, closed)
    start = draw(st.sampled_from([0.0, 0.3, 1.0]))
    return ContextSettings(draw(st.sampled_from(SCHEDULE_NAMES)), windows, draw(st.sampled_from(FUSIONS)), start)


def shown(schedule: str = "static", frames: int = 64, steps: int = 20, start: float = 0.0, **windows) -> Preview:
    context = ContextSettings(schedule, WindowLayout(**windows), "pyramid", start)
    return plan_preview(context, frames, steps, MAX_ROWS)


def pixels(image: torch.Tensor) -> set[tuple[int, ...]]:
    return set(map(tuple, (image[0] * 255).round().int().reshape(-1, 3).tolist()))


@given(context_settings(), st.integers(3, 60), st.integers(1, 6))
def test_every_frame_of_every_step_is_shown(context, frames, steps):
    plan = plan_preview(context, frames, steps, 10**6)
    drawn = [step for band in plan.bands for step in range(band.first_step, band.last_step + 1)]
    assert drawn == list(range(steps))
    for band in plan.bands:
        counts = numpy.zeros(frames)
        for bar in band.bars:
            numpy.add.at(counts, list(bar.frames), bar.weights)
        assert counts == pytest.approx(1)
        assert band.hidden == 0


@given(context_settings(), st.integers(3, 40))
def test_no_bar_lies_on_another(context, frames):
    for band in plan_preview(context, frames, 2, 10**6).bands:
        lanes = [[] for _ in range(band.lanes)]
        for bar in band.bars:
            lanes[bar.lane] += bar.spans
        for spans in map(sorted, lanes):
            assert all(last < first for (_, last), (first, _) in pairwise(spans))


@settings(max_examples=8)
@given(context_settings(), st.integers(3, 150), st.integers(1, 200))
def test_the_picture_is_bounded(context, frames, steps):
    image = draw(plan_preview(context, frames, steps, MAX_ROWS))
    assert image.shape[1] <= MAX_HEIGHT
    assert MIN_WIDTH <= image.shape[2] <= MAX_WIDTH
    assert 0 <= float(image.min()) < float(image.max()) <= 1


@given(st.integers(0, 90), st.sampled_from(HUES))
def test_what_counts_more_is_brighter(percent, hue):
    assert sum(dim(hue, percent / 100)) < sum(dim(hue, percent / 100 + 0.1))


def test_cells_have_the_brightness_of_their_weights():
    plan = shown(frames=28)
    first = plan.bands[0].bars[0]
    colours = pixels(draw(plan))
    assert first.weights[0] == 1 and 0 < first.weights[-1] < 1
    assert {dim(HUES[0], weight) for weight in first.weights} <= colours


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (shown(), "Each step evaluates 5 windows, 80 frames in total: 1.25 times the clip's 64."),
        (shown("batched"), "Each step evaluates 4 windows, 64 frames in total: as many as the clip has."),
        (shown("view"), "The model sees all 64 frames at once. Only temporal attention is divided: 5 windows."),
        (shown("looped", 16, closed_loop=True), "Only temporal attention is divided: 2 windows."),
        (shown(frames=16), "Nothing is divided: the clip is not longer than a window (16 of 16 frames)."),
        (shown(start=1.0), "Nothing is divided: no step begins at start_percent 1 or later."),
    ],
)
def test_the_summary_says_what_it_costs(plan, sentence):
    assert sentence in plan.summary


def test_what_has_no_room_is_said():
    assert shown().remarks == ()
    assert shown("uniform", steps=1000).remarks[0].endswith(" of 1000.")
    crowded = shown(frames=300, length=200, overlap=199)
    assert crowded.rows <= MAX_ROWS
    assert crowded.remarks == (f"Windows drawn: {len(crowded.bands[0].bars)} of 101.",)


@pytest.mark.parametrize(
    ("plan", "is_said"),
    [
        (shown(length=1, overlap=0), True),
        (shown("batched", 33), True),
        (shown("view", 5, length=1, overlap=0), True),
        (shown("batched", 34), False),
        (shown(length=2, overlap=1), False),
    ],
)
def test_windows_of_one_frame_are_said_to_have_no_motion(plan, is_said):
    assert any(remark.startswith("A window has 1 frame") for remark in plan.remarks) == is_said


@pytest.mark.parametrize(
    ("plan", "is_said"), [(shown("uniform"), True), (shown("uniform", steps=1), False), (shown(), False)]
)
def test_a_reference_keeps_moving_windows_in_place(plan, is_said):
    assert any("reference_until" in remark for remark in plan.remarks) == is_said


def test_steps_before_the_start_are_undivided():
    before, after = shown(start=0.3).bands
    assert (before.first_step, before.last_step, before.divided) == (0, 5, False)
    assert (after.first_step, after.last_step, after.divided) == (6, 19, True)
    assert shown(start=0.3).remarks


def test_a_window_over_the_end_goes_on_at_the_beginning():
    bars = shown("looped", closed_loop=True).bands[0].bars
    assert [bar.spans for bar in bars if len(bar.spans) > 1] == [[(60, 63), (0, 11)]]


@pytest.mark.parametrize(
    ("context", "frames", "words"),
    [
        (ContextSettings(layout=WindowLayout(8, 8)), 64, "Set `context_overlap` below `context_length`"),
        (
            ContextSettings("looped", WindowLayout(closed_loop=True)),
            2,
            "at least 3 with `closed_loop`. Raise `frames`, or turn off `closed_loop`",
        ),
    ],
)
def test_impossible_settings_are_refused(context, frames, words):
    with pytest.raises(LoomError, match=words):
        plan_preview(context, frames, 4, MAX_ROWS)


@pytest.mark.parametrize("frames", [8, 17, 32, 64, 200])
def test_the_ends_of_a_looped_clip_meet_with_closed_loop_on_only(frames):
    on, off = (shown("looped", frames, closed_loop=closed) for closed in (True, False))
    assert on.title.startswith("looped, closed_loop on:") and "The ends meet: windows lead" in on.summary
    assert off.title.startswith("looped, closed_loop off:") and "The ends do not meet: no window" in off.summary
    assert not any(len(bar.spans) > 1 for band in off.bands for bar in band.bars)
    assert "The ends" not in shown("uniform", frames).summary


def test_the_node_shows_its_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    schedule = {"schedule": "looped", "context_stride": 2, "closed_loop": True}
    output = PreviewContextWindows.execute(16, 4, schedule, "pyramid", frames=24, steps=3)
    image, text = output.result
    assert image.dtype == torch.float32 and image.shape[0] == 1 and image.shape[3] == 3
    assert text.startswith("Each step evaluates ")
    (saved,) = output.ui.as_dict()["images"]
    assert (tmp_path / saved["filename"]).is_file()


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (
            (1024, 768),
            "The picture of 1024 x 768 px is divided into 6 tiles (3 x 2) of 512 x 512 px, 2 times its area, and each "
            "tile into these windows.",
        ),
        ((512, 384), "The picture of 512 x 384 px is one tile."),
    ],
)
def test_the_summary_counts_tiles(picture, words):
    context = ContextSettings(tiles=TileLayout(512, 128))
    summary = plan_preview(context, 64, 20, MAX_ROWS, picture).summary
    assert summary.startswith("Each step evaluates 5 windows") and summary.endswith(words)


def test_the_node_counts_tiles():
    windows = {"context_length": 16, "context_overlap": 4, "schedule": {"schedule": "static"}, "fuse": "pyramid"}
    tiles = {"tiles": "by size", "tile_size": 512, "tile_overlap": 0, "width": 2048, "height": 1024}
    (plain, tiled) = (
        PreviewContextWindows.execute(**windows, frames=16, steps=4, tiles=choice)[1] for choice in (None, tiles)
    )
    assert tiled.startswith(plain) and "divided into 8 tiles (4 x 2) of 512 x 512 px, 1 times its area" in tiled
