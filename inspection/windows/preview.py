"""Preview of context windows: bars in lanes, step by step, and their cost in words."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise

from ...motion_modules.tile import PIXELS
from ...sampling.windows.schedules import Window
from ...sampling.windows.settings import LOOPED, ContextSettings, normalise_weights

GAP = 1  # empty lanes below the windows of a step
MOVING = ("uniform", LOOPED)  # schedules whose windows may differ from step to step

Span = tuple[int, int]


@dataclass(frozen=True)
class Bar:
    """A window with the weight of each of its frames, and the lane where it is drawn.

    `number` counts the windows of a step from left to right.
    """

    frames: Window
    weights: tuple[float, ...]
    dilation: int = 1
    number: int = 0
    lane: int = 0

    @property
    def spans(self) -> list[Span]:
        """First and last frame of each part: one part, or two where the window wraps around the end of the clip."""
        wraps = [number for number, (a, b) in enumerate(pairwise(self.frames), 1) if b < a]
        edges = [0, *wraps, len(self.frames)]
        return [(self.frames[start], self.frames[end - 1]) for start, end in pairwise(edges)]


@dataclass(frozen=True)
class Band:
    """Consecutive steps with the same windows; `windows` and `evaluated` frames count for one step."""

    first_step: int
    last_step: int
    bars: tuple[Bar, ...]
    windows: int
    evaluated: int
    divided: bool = True

    @property
    def lanes(self) -> int:
        return 1 + max(bar.lane for bar in self.bars)

    @property
    def hidden(self) -> int:
        return self.windows - len(self.bars)


@dataclass(frozen=True)
class Preview:
    """Bands of `steps` steps over a clip of `frames`, as many as there was room for, and what to say about them.

    `picture` is its width and height in pixels, where the settings have tiles.
    """

    settings: ContextSettings
    frames: int
    steps: int
    bands: tuple[Band, ...]
    picture: tuple[int, int] | None = None

    @property
    def rows(self) -> int:
        return sum(band.lanes + GAP for band in self.bands)

    @property
    def title(self) -> str:
        layout = self.settings.layout
        stride = f", stride {layout.stride}" if layout.stride > 1 else ""
        loop = f", closed_loop {'on' if layout.closed_loop else 'off'}" if self.settings.schedule == LOOPED else ""
        return (
            f"{self.settings.schedule}{loop}: {self.frames} frames, windows of {layout.length}, "
            f"overlap {layout.overlap}{stride}, fuse {self.settings.fusion}"
        )

    @cached_property
    def summary(self) -> str:
        """Windows and tiles of a step, their cost, and whether a looped schedule joins the ends of the clip."""
        return " ".join(filter(None, (self._summarise_cost(), self._summarise_tiles(), self._summarise_loop())))

    def _summarise_tiles(self) -> str:
        if self.settings.tiles is None or self.picture is None:
            return ""
        width, height = (side // PIXELS for side in self.picture)
        if not self.settings.tiles.divides(height, width):
            return f"The picture of {self.picture[0]} x {self.picture[1]} px is one tile."
        rows, columns = (len(self.settings.tiles.place(side)) for side in (height, width))
        tile_height, tile_width = self.settings.tiles.fit(height, width)
        cost = rows * columns * tile_height * tile_width / (height * width)
        return (
            f"The picture of {self.picture[0]} x {self.picture[1]} px is divided into {rows * columns} tiles "
            f"({columns} x {rows}) of {tile_width * PIXELS} x {tile_height * PIXELS} px, {_format_range([cost])} times "
            "its area, and each tile into these windows."
        )

    def _summarise_cost(self) -> str:
        divided = [band for band in self.bands if band.divided]
        if not divided:
            return f"Nothing is divided: no step begins at start_percent {self.settings.start_percent:g} or later."
        windows = _count_windows([band.windows for band in divided])
        if self.settings.divides_attention(self.frames):
            return f"The model sees all {self.frames} frames at once. Only temporal attention is divided: {windows}."
        if not self.settings.divides_clip(self.frames):
            length = self.settings.layout.length
            return f"Nothing is divided: the clip is not longer than a window ({self.frames} of {length} frames)."
        evaluated = [band.evaluated for band in divided]
        cost = _format_range([count / self.frames for count in evaluated])
        times = "as many as the clip has" if cost == "1" else f"{cost} times the clip's {self.frames}"
        return f"Each step evaluates {windows}, {_format_range(evaluated)} frames in total: {times}."

    def _summarise_loop(self) -> str:
        if self.settings.schedule != LOOPED:
            return ""
        if any(len(bar.spans) > 1 for band in self.bands for bar in band.bars):
            return "The ends meet: windows lead from the last frame to the first."
        return "The ends do not meet: no window leads from the last frame to the first."

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """Explanations of grey bars, windows of one frame and moving windows; steps and windows that are not drawn."""
        remarks: list[str] = []
        if not self.bands[0].divided:
            start = self.settings.start_percent
            remarks.append(f"Grey: steps before start_percent {start:g} are not divided (all steps counted as equal).")
        if any(len(bar.frames) < 2 for band in self.bands for bar in band.bars):
            remarks.append("A window has 1 frame: without a motion model only. Raise context_length for motion.")
        drawn = self.bands[-1].last_step + 1
        if drawn < self.steps:
            remarks.append(f"Steps drawn: the first {drawn} of {self.steps}.")
        crowded = next((band for band in self.bands if band.hidden), None)
        if crowded:
            remarks.append(f"Windows drawn: {len(crowded.bars)} of {crowded.windows}.")
        if self.settings.schedule in MOVING and sum(band.divided for band in self.bands) > 1:
            remarks.append("Drawn for reference_until 0. Above 0, the windows of step 0 stay until that point.")
        return tuple(remarks)


def plan_preview(
    settings: ContextSettings, frames: int, steps: int, max_rows: int, picture: tuple[int, int] | None = None
) -> Preview:
    """Plan a picture of up to `max_rows` lanes, gaps included.

    `picture` is the width and height of the clip in pixels, for tiles. Raises LoomError for impossible settings.
    """
    settings.check()
    settings.check_frames(frames, "Raise `frames`")
    bands: list[Band] = []
    free = max_rows
    for band in _plan_bands(settings, frames, steps, max_rows - 1 - 2 * GAP):
        free -= band.lanes + GAP
        if bands and free < 0:
            break
        bands.append(band)
    return Preview(settings, frames, steps, tuple(bands), picture)


def _plan_bands(settings: ContextSettings, frames: int, steps: int, max_lanes: int) -> Iterator[Band]:
    """Yield bands; all steps are taken for equal parts of the noise schedule, to tell which begin before its start."""
    first = next((step for step in range(steps) if step / steps >= settings.start_percent), steps)
    if first:
        whole = Bar(tuple(range(frames)), (1.0,) * frames)
        yield Band(0, first - 1, (whole,), 1, frames, divided=False)
    if first < steps and settings.schedule not in MOVING:
        yield _plan_step_band(settings, frames, first, steps - 1, max_lanes)
        return
    while first < steps:
        last = _find_last_step(settings, frames, first, steps)
        yield _plan_step_band(settings, frames, first, last, max_lanes)
        first = last + 1


def _find_last_step(settings: ContextSettings, frames: int, first: int, steps: int) -> int:
    """Return the last step in a row that has the windows of the step `first`."""
    windows = set(settings.plan_windows(frames, first))
    changed = (step for step in range(first + 1, steps) if set(settings.plan_windows(frames, step)) != windows)
    return next(changed, steps) - 1


def _plan_step_band(settings: ContextSettings, frames: int, first: int, last: int, max_lanes: int) -> Band:
    windows = settings.plan_windows(frames, first)
    weights = normalise_weights(windows, settings, frames)
    bars = [
        Bar(window, tuple(window_weights), _measure_dilation(window, frames))
        for window, window_weights in zip(windows, weights, strict=True)
    ]
    bars.sort(key=lambda bar: (bar.dilation, bar.frames[0]))
    return Band(first, last, tuple(_assign_lanes(bars, max_lanes)), len(bars), sum(map(len, windows)))


def _measure_dilation(window: Window, frames: int) -> int:
    return (window[1] - window[0]) % frames if len(window) > 1 else 1


def _assign_lanes(bars: Sequence[Bar], max_lanes: int) -> Iterator[Bar]:
    """Yield bars by dilation, each in the first lane where it covers no other; leave out what needs more lanes."""
    above = 0
    for _, group in groupby(enumerate(bars), key=lambda pair: pair[1].dilation):
        lanes: list[list[Span]] = []
        for number, bar in group:
            spans = bar.spans
            lane = next((index for index, taken in enumerate(lanes) if _is_free(taken, spans)), len(lanes))
            if above + lane >= max_lanes:
                continue
            if lane == len(lanes):
                lanes.append([])
            for span in spans:
                insort(lanes[lane], span)
            yield replace(bar, number=number, lane=above + lane)
        above += len(lanes)


def _is_free(taken: Sequence[Span], spans: Sequence[Span]) -> bool:
    """Return whether `spans` cover none of the `taken` ones, which are sorted."""
    return all(_is_gap(taken, first, last) for first, last in spans)


def _is_gap(taken: Sequence[Span], first: int, last: int) -> bool:
    place = bisect_left(taken, (first, first))
    return (place == 0 or taken[place - 1][1] < first) and (place == len(taken) or last < taken[place][0])


def _count_windows(counts: Sequence[int]) -> str:
    return f"{_format_range(counts)} window{'s' * (max(counts) > 1)}"


def _format_range(values: Sequence[float]) -> str:
    low, high = (f"{value:,.2f}".rstrip("0").rstrip(".") for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
