"""Tiles: they cover every place of a picture exactly, are equally large, and their weights add up to 1."""

from itertools import pairwise

import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.motion_modules.tile import Tile
from animatediff_loom.sampling.windows.fusion import FUSIONS
from animatediff_loom.sampling.windows.tiles import PIXELS, TileLayout, weigh_tiles
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def layouts(draw) -> TileLayout:
    places = draw(st.integers(1, 24))
    return TileLayout(PIXELS * places, PIXELS * draw(st.integers(0, places - 1)))


SIDES = st.integers(1, 60)


@given(layouts(), SIDES, SIDES, st.sampled_from(FUSIONS))
def test_weights_of_a_place_add_up_to_one(layout, height, width, fusion):
    total = torch.zeros(height, width)
    for weighted in weigh_tiles(layout, fusion, height, width):
        assert weighted.weights.shape == weighted.tile.size
        assert float(weighted.weights.min()) > 0
        weighted.tile.cut(total).add_(weighted.weights)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-5)


@given(layouts(), SIDES, SIDES)
def test_tiles_are_equally_large_and_inside_the_picture(layout, height, width):
    tiles = [weighted.tile for weighted in weigh_tiles(layout, "flat", height, width)]
    assert {tile.size for tile in tiles} == {layout.fit(height, width)}
    assert len(set(tiles)) == len(tiles)
    assert (len(tiles) > 1) == layout.divides(height, width)
    for tile in tiles:
        assert 0 <= tile.top <= height - tile.height and 0 <= tile.left <= width - tile.width


@given(layouts(), SIDES)
def test_neighbours_share_at_least_the_overlap(layout, length):
    parts = layout.place(length)
    for part, following in pairwise(parts):
        assert len(set(part) & set(following)) >= layout.overlap // PIXELS


@given(layouts(), SIDES, SIDES, st.sampled_from(FUSIONS))
def test_a_constant_prediction_stays_constant(layout, height, width, fusion):
    fused = torch.zeros(2, 4, height, width)
    for weighted in weigh_tiles(layout, fusion, height, width):
        tile = weighted.tile
        tile.cut(fused).add_(torch.full((2, 4, *tile.size), 3.0) * weighted.weights)
    assert torch.allclose(fused, torch.full_like(fused, 3.0), atol=2e-5)


def test_a_picture_of_three_tiles_in_two_rows():
    tiles = [weighted.tile for weighted in weigh_tiles(TileLayout(512, 64), "pyramid", 96, 160)]
    assert [(tile.top, tile.left) for tile in tiles] == [(0, 0), (0, 56), (0, 96), (32, 0), (32, 56), (32, 96)]


def test_weights_are_highest_in_the_middle_of_a_tile_and_the_product_of_both_sides():
    first, *_ = weigh_tiles(TileLayout(64, 32), "pyramid", 12, 12)
    assert torch.equal(first.weights[:4, :4], torch.ones(4, 4))
    assert float(first.weights[4, 4]) == pytest.approx(float(first.weights[4, 0]) ** 2)
    assert float(first.weights[7, 7]) == pytest.approx((1 / (1 + 4)) ** 2)


def test_a_part_of_a_tile_and_a_scaled_tile_show_the_same_places():
    picture = torch.arange(12 * 10).view(1, 12, 10)
    tile = Tile(2, 3, 6, 5, (12, 10))
    assert torch.equal(tile.crop(1, 2, 3, 3).cut(picture), tile.cut(picture)[:, 1:4, 2:5])
    large = picture.repeat_interleave(8, 1).repeat_interleave(8, 2)
    assert torch.equal(tile.scale(8).cut(large), tile.cut(picture).repeat_interleave(8, 1).repeat_interleave(8, 2))
    assert tile.scale(8).picture == (96, 80)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (TileLayout(500, 64), "`tile_size` is 500, but must be a multiple of 8, .* Use 496 or 504"),
        (TileLayout(512, 60), "`tile_overlap` is 60, but must be a multiple of 8, .* Use 56 or 64"),
        (TileLayout(512, 512), "`tile_overlap` is 512 and `tile_size` is 512. Set `tile_overlap` below `tile_size`"),
        (TileLayout(64, 128), "`tile_overlap` is 128 and `tile_size` is 64. Set `tile_overlap` below `tile_size`"),
    ],
)
def test_tiles_that_cannot_be_placed_are_refused(layout, words):
    with pytest.raises(LoomError, match=words):
        layout.check()


@given(st.integers(2, 16), st.data(), st.sampled_from(["pyramid", "relative", "overlap-linear"]))
def test_neighbours_that_differ_pass_into_each_other_without_a_seam(overlap, data, fusion):
    """Between tiles that predict 0 and 1, no two places differ more than on a slope half as long as the overlap."""
    side = data.draw(st.integers(2 * overlap, 40))
    layout = TileLayout(PIXELS * side, PIXELS * overlap)
    fused = torch.zeros(1, 2 * side - overlap)
    for value, weighted in enumerate(weigh_tiles(layout, fusion, *fused.shape)):
        weighted.tile.cut(fused).add_(value * weighted.weights)
    steps = fused.diff()
    assert float(steps.min()) >= -1e-6 and float(steps.max()) <= 2 / overlap + 1e-6


def test_flat_weights_leave_a_seam():
    fused = torch.zeros(1, 12)
    for value, weighted in enumerate(weigh_tiles(TileLayout(64, 32), "flat", *fused.shape)):
        weighted.tile.cut(fused).add_(value * weighted.weights)
    assert float(fused.diff().max()) == 0.5
