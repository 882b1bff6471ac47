"""Clips of Loom Mini that are longer than a context window: what the prompt says, without seams, and loops."""

from itertools import pairwise

import pytest
import torch
from animatediff_loom.inspection.metrics.measure import measure_video
from host.server import Server
from loom_mini.captions import plain_caption
from loom_mini.measures import ClipReading, read_clip
from loom_mini.world import DIRECTIONS, Combination

from tests.support.workflows import MINI_STEPS, WINDOWS, add_windows, long_prompt, run_pictures

ASKED: dict[Combination, tuple[str, int]] = {
    ("circle", "red", "right"): ("black", 64),
    ("star", "blue", "up"): ("grey", 128),
}
LOOPS: dict[Combination, tuple[str, int]] = {
    ("circle", "red", "right"): ("black", 24),
    ("square", "green", "left"): ("white", 16),
}
pytestmark = pytest.mark.timeout(3600)  # a busy machine takes its time for 500 frames
DEFAULT_WINDOWS, VISIBLE_DRIFT = {"context_length": 16, "context_overlap": 4}, 2.3
LEAST_COLOUR, LEAST_TOLD, MOST_SEAM, CERTAIN_STEP = 0.98, 0.6, 1.05, 0.3


def filmed(server: Server, asked: Combination, ground: str, frames: int, **settings) -> torch.Tensor:
    prompt = long_prompt(plain_caption(*asked) + f" on a {ground} background", steps=MINI_STEPS, frames=frames)
    return run_pictures(server, add_windows(prompt, **settings))


@pytest.fixture(scope="module")
def long_clips(host_server: Server) -> dict[Combination, torch.Tensor]:
    return {asked: filmed(host_server, asked, ground, frames) for asked, (ground, frames) in ASKED.items()}


@pytest.mark.parametrize("asked", ASKED, ids=" ".join)
def test_a_long_clip_shows_what_the_prompt_says(long_clips, asked: Combination):
    reading = read_clip(long_clips[asked])
    shape, colour, motion = asked
    assert sum(frame.colour == colour for frame in reading.frames) / len(reading.frames) >= LEAST_COLOUR
    assert reading.most_common("shape") == shape
    assert reading.steady
    assert told_share(reading, motion) >= LEAST_TOLD


def told_share(reading: ClipReading, motion: str) -> float:
    """Return the share of the certain steps along the axis of `motion` that go in its direction."""
    dx, dy = DIRECTIONS[motion]
    places = [frame.x * dx + frame.y * dy for frame in reading.frames if frame.area]
    steps = [after - before for before, after in pairwise(places)]
    return sum(step > CERTAIN_STEP for step in steps) / sum(abs(step) > CERTAIN_STEP for step in steps)


def test_windows_leave_no_seams(long_clips):
    """Differences between neighbouring frames across the borders of windows, over those elsewhere."""
    across, elsewhere = [], []
    for clip in long_clips.values():
        at_border = borders(len(clip))
        for place, difference in enumerate(differences(clip)):
            (across if place in at_border else elsewhere).append(difference)
    assert sum(across) / len(across) <= MOST_SEAM * sum(elsewhere) / len(elsewhere)


def borders(frames: int) -> set[int]:
    """The frames after which a static window begins or ends."""
    length, overlap = WINDOWS["context_length"], WINDOWS["context_overlap"]
    starts = [*range(0, frames - length, length - overlap), frames - length]
    return {start - 1 for start in starts[1:]} | {start + length - 1 for start in starts[:-1]}


def differences(clip: torch.Tensor) -> list[float]:
    return [float((after - before).abs().mean()) for before, after in pairwise(clip)]


@pytest.mark.parametrize("asked", LOOPS, ids=" ".join)
def test_a_loop_closes(host_server: Server, asked: Combination):
    """Its last frame leads to its first one as frames lead to the next; with closed_loop off it is far from it."""
    ground, frames = LOOPS[asked]
    closed, ends = (filmed(host_server, asked, ground, frames, **looped(on)) for on in (True, False))
    assert gap(closed) <= max(differences(closed))
    assert gap(ends) > 2 * max(differences(ends))


def test_closed_loop_decides_the_loop_gap(host_server: Server):
    on, off = (
        measure_video(filmed(host_server, ("circle", "red", "right"), "black", 32, **looped(on)).movedim(1, -1))
        for on in (True, False)
    )
    assert on.loop_gap < 1.5 and off.loop_gap > 3


def looped(closed: bool) -> dict:
    return {"schedule": "looped", "schedule.context_stride": 1, "schedule.closed_loop": closed}


def gap(clip: torch.Tensor) -> float:
    return float((clip[-1] - clip[0]).abs().mean())


def test_by_default_a_long_clip_keeps_its_ground(host_server: Server):
    """A prompt that names no ground: without a reference every window has its own."""
    alone, referring = (
        run_pictures(host_server, add_windows(prompt, **DEFAULT_WINDOWS, **reference))
        for prompt in [long_prompt(steps=MINI_STEPS, frames=64)]
        for reference in ({"reference_until": 0}, {})
    )
    without, by_default = (measure_video(clip.movedim(1, -1), 16, 4) for clip in (alone, referring))
    assert without.colour_drift > VISIBLE_DRIFT and without.largest_jump > 10
    assert by_default.colour_drift < VISIBLE_DRIFT and by_default.seam < 1.3 and by_default.largest_jump < 10
    reading = read_clip(referring)
    assert reading.most_common("colour") == "red" and reading.steady
    assert told_share(reading, "right") >= LEAST_TOLD
