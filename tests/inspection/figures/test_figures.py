"""Figures show what they are given, and their texts, numbers and ticks fit."""

from itertools import pairwise

import torch
from animatediff_loom.inspection.figures.figure import draw_figure
from animatediff_loom.inspection.figures.line_plot import Curve, LinePlot
from animatediff_loom.inspection.figures.style import format_number, place_ticks, round_up, wrap_text
from hypothesis import given
from hypothesis import strategies as st


def test_the_picture_shows_the_curve():
    def columns(values) -> torch.Tensor:
        lines = LinePlot("a title", "a unit", [Curve("one", values, (0, 255, 0))], last=len(values) - 1)
        image = draw_figure("title", "", [lines.panel()])[0]
        green = (image == torch.tensor([0.0, 1.0, 0.0])).all(dim=-1)[110:]
        return green[:, 120:1240].float().argmax(dim=0)

    up = columns([0.0, 1.0])
    assert up[0] > up[-1] + 100
    flat = columns([1.0, 1.0])
    assert flat.max() - flat.min() <= 3


@given(st.floats(1e-9, 1e9))
def test_axes_end_above_their_values(value):
    assert value <= round_up(value) * 1.001 <= 2.6 * value


@given(st.integers(1, 5000), st.floats(0.2, 600))
def test_ticks_leave_room(last, unit):
    ticks = place_ticks(last, unit)
    assert ticks[-1] == last and ticks == sorted(set(ticks))
    assert all((b - a) * unit >= 47 for a, b in pairwise(ticks))


def test_words_and_numbers_fit():
    written = {0: "0", 0.5: "0.5", 12.345: "12.3", 12345: "12,345", 1e7: "1e7", 1e-5: "1e-5"}
    assert {value: format_number(value) for value in written} == written
    lines = wrap_text("some words " * 40, 300)
    assert len(lines) > 5 and " ".join(lines) == ("some words " * 40).strip()
