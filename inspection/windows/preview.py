"""Which windows a picture of context windows shows: bars in lanes, step by step, and what they cost in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, pairwise

from ...sampling.windows.schedules import Window
from ...sampling.windows.settings import LOOPED, ContextSettings, normalise_weights

GAP = 1  # lanes left free below the windows of a step
MOVING = ("uniform", LOOPED)

Span = tuple[int, int]


@dataclass(frozen=True)
class Bar:
    """A window and what each of its frames counts in it, with the lane of the picture where it has room.

    `number` counts the windows of a step from left to right.
    """

    frames: Window
    weights: tuple[float, ...]
    dilation: int = 1
    number: int = 0
    lane: int = 0

    @property
    def spans(self) -> list[Span]:
        """First and last frame of each part: one, or two where the window runs over the end of the clip."""
        behind_wrap = [number for number, (a, b) in enumerate(pairwise(self.frames), 1) if b < a]
        edges = [0, *behind_wrap, len(self.frames)]
        return [(self.frames[start], self.frames[end - 1]) for start, end in pairwise(edges)]


@dataclass(frozen=True)
class Band:
    """Steps one behind another that have the same windows; `windows` and `evaluated` frames count for one step."""

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
    """What is drawn of `steps` steps over a clip of `frames`: the first bands that have room."""

    settings: ContextSettings
    frames: int
    steps: int
    bands: tuple[Band, ...]

    @property
    def in_attention(self) -> bool:
        """Whether the windows divide temporal attention only, and the model sees the whole clip."""
        return self.settings.divides_attention(self.frames)

    @property
    def rows(self) -> int:
        return sum(band.lanes + GAP for band in self.bands)


def preview(settings: ContextSettings, frames: int, steps: int, most_rows: int) -> Preview:
    """At most `most_rows` lanes of windows, gaps included. Raises LoomError for impossible settings."""
    settings.check()
    settings.check_frames(frames)
    bands: list[Band] = []
    free = most_rows
    for band in _bands(settings, frames, steps, most_rows - 1 - 2 * GAP):
        free -= band.lanes + GAP
        if bands and free < 0:
            break
        bands.append(band)
    return Preview(settings, frames, steps, tuple(bands))


def begins_divided(settings: ContextSettings, step: int, steps: int) -> bool:
    """Whether the settings hold in a step, as if every step were an equal part of the noise schedule."""
    return step / steps >= settings.start_percent


def _bands(settings: ContextSettings, frames: int, steps: int, most_lanes: int) -> Iterator[Band]:
    first = next((step for step in range(steps) if begins_divided(settings, step, steps)), steps)
    if first:
        yield Band(0, first - 1, (_undivided(frames),), 1, frames, divided=False)
    if first < steps and settings.schedule not in MOVING:
        yield _band(settings, frames, first, steps - 1, most_lanes)
        return
    while first < steps:
        last = _last_alike(settings, frames, first, steps)
        yield _band(settings, frames, first, last, most_lanes)
        first = last + 1


def _last_alike(settings: ContextSettings, frames: int, first: int, steps: int) -> int:
    windows = set(settings.plan_windows(frames, first))
    others = (step for step in range(first + 1, steps) if set(settings.plan_windows(frames, step)) != windows)
    return next(others, steps) - 1


def _band(settings: ContextSettings, frames: int, first: int, last: int, most_lanes: int) -> Band:
    windows = settings.plan_windows(frames, first)
    weights = normalise_weights(windows, settings, frames)
    bars = [Bar(window, tuple(own), _dilation(window, frames)) for window, own in zip(windows, weights, strict=True)]
    bars.sort(key=lambda bar: (bar.dilation, bar.frames[0]))
    return Band(first, last, tuple(_in_lanes(bars, most_lanes)), len(bars), sum(map(len, windows)))


def _undivided(frames: int) -> Bar:
    return Bar(tuple(range(frames)), (1.0,) * frames)


def _dilation(window: Window, frames: int) -> int:
    return (window[1] - window[0]) % frames if len(window) > 1 else 1


def _in_lanes(bars: Sequence[Bar], most_lanes: int) -> Iterator[Bar]:
    """Bars in order of their dilation, each in the first lane where it covers no other; none beyond `most_lanes`."""
    above = 0
    for _, alike in groupby(enumerate(bars), key=lambda pair: pair[1].dilation):
        lanes: list[list[Span]] = []
        for number, bar in alike:
            spans = bar.spans
            lane = next((index for index, taken in enumerate(lanes) if _is_free(taken, spans)), len(lanes))
            if above + lane >= most_lanes:
                continue
            lanes[lane : lane + 1] = [[*chain.from_iterable(lanes[lane : lane + 1]), *spans]]
            yield replace(bar, number=number, lane=above + lane)
        above += len(lanes)


def _is_free(taken: Sequence[Span], spans: Sequence[Span]) -> bool:
    return all(last < start or end < first for start, end in taken for first, last in spans)


def title(shown: Preview) -> str:
    settings, layout = shown.settings, shown.settings.layout
    stride = f", stride {layout.stride}" if layout.stride > 1 else ""
    return (
        f"{settings.schedule}: {shown.frames} frames, windows of {layout.length}, overlap {layout.overlap}{stride}, "
        f"fuse {settings.fusion}"
    )


def summary(shown: Preview) -> str:
    """How many windows a step has and what they cost, in one sentence."""
    settings, frames = shown.settings, shown.frames
    divided = [band for band in shown.bands if band.divided]
    if not divided:
        return f"Nothing is divided: no step begins at start_percent {settings.start_percent:g} or later."
    windows = _windows([band.windows for band in divided])
    evaluated = [band.evaluated for band in divided]
    if shown.in_attention:
        return f"The model sees all {frames} frames at once; only the attention between them is divided: {windows}."
    if not settings.divides_clip(frames):
        length = settings.layout.length
        return f"Nothing is divided: the clip is not longer than a window ({frames} of {length} frames)."
    cost = _between([count / frames for count in evaluated])
    times = "as many as the clip has" if cost == "1" else f"{cost} times the clip's {frames}"
    return f"Each step evaluates {windows}, {_between(evaluated)} frames in all: {times}."


def remarks(shown: Preview) -> list[str]:
    """What a person has to know who reads the picture: what grey means, and what is left out."""
    found: list[str] = []
    if not shown.bands[0].divided:
        start = shown.settings.start_percent
        found.append(f"Grey steps begin before start_percent {start:g}, counted evenly: not divided.")
    drawn = shown.bands[-1].last_step + 1
    if drawn < shown.steps:
        found.append(f"Steps drawn: the first {drawn} of {shown.steps}.")
    cut = next((band for band in shown.bands if band.hidden), None)
    if cut:
        found.append(f"Windows drawn: {len(cut.bars)} of {cut.windows}.")
    return found


def _windows(counts: Sequence[int]) -> str:
    return f"{_between(counts)} window{'s' * (max(counts) > 1)}"


def _between(values: Sequence[float]) -> str:
    least, most = (f"{value:,.2f}".rstrip("0").rstrip(".") for value in (min(values), max(values)))
    return least if least == most else f"{least} to {most}"
