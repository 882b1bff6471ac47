"""Nodes that put several tiles of the latent into one batch: every tile is a clip of its own."""

import pytest
import torch
from animatediff_loom.motion_modules.unet.placement import add_attention_tap

from tests.support.motion_models import apply_motion, apply_windows, load_motion
from tests.support.other_nodes import TILE_WIDTH, tile
from tests.support.sampling import apply_host_windows, distance, noise, sample

FRAMES, CLOSE = 4, 1e-5


def wide_noise(tiles: int, frames: int = FRAMES) -> torch.Tensor:
    return torch.cat([noise(frames, seed) for seed in range(1, tiles + 1)], dim=-1)


def check_tiles(model, tiles: int, cond_first: bool, frames: int = FRAMES) -> None:
    start = wide_noise(tiles, frames)
    single, batched = (sample(tile(model, count, cond_first), noise=start) for count in (1, tiles))
    assert distance(batched, single) < CLOSE


@pytest.mark.parametrize("cond_first", [False, True])
@pytest.mark.parametrize("tiles", [2, 3])
def test_tiles_in_one_batch_are_clips_of_their_own(moving, tiles, cond_first):
    check_tiles(moving, tiles, cond_first)


def test_a_tile_is_the_clip_that_it_would_be_alone(moving):
    start = wide_noise(2)
    alone = [sample(moving, noise=part) for part in start.split(TILE_WIDTH, dim=-1)]
    assert distance(sample(tile(moving, 2), noise=start), torch.cat(alone, dim=-1)) < CLOSE


def test_norms_over_the_frames_of_a_tile(model):
    check_tiles(apply_motion(model, load_motion(8, family="AnimateDiff v1")), 2, cond_first=False)


@pytest.mark.parametrize("cond_first", [False, True])
@pytest.mark.parametrize("windows_at_once", [1, 3])
def test_tiles_of_windows(moving, windows_at_once, cond_first):
    check_tiles(apply_windows(moving, windows_at_once=windows_at_once), 2, cond_first, frames=7)


@pytest.mark.parametrize("schedule", ["view", "looped"])
def test_tiles_whose_attention_is_in_windows(moving, schedule):
    check_tiles(apply_windows(moving, schedule, length=FRAMES, closed_loop=True), 2, cond_first=False)


@pytest.mark.parametrize("causal_window_fix", [False, True])
def test_tiles_of_the_hosts_windows(moving, causal_window_fix):
    check_tiles(apply_host_windows(moving, causal_window_fix=causal_window_fix), 2, cond_first=False, frames=6)


def test_a_tap_knows_the_frames_and_the_cond_of_every_tile(moving):
    calls = []
    tapped = add_attention_tap(apply_windows(moving, length=3, overlap=0), lambda call, q, k, v: calls.append(call))
    sample(tile(tapped, 2), noise=wide_noise(2, 6), steps=1)
    # windows are evaluated one by one beside the wrapper of another pack; each call has both conds of both tiles
    assert {call.windows for call in calls} == {((0, 1, 2),) * 4, ((3, 4, 5),) * 4}
    assert {call.chunk_kinds for call in calls} in ({(0, 1) * 2}, {(1, 0) * 2})


@pytest.mark.parametrize("cond_first", [False, True])
def test_tiles_follow_the_reference_window_at_their_place(moving, cond_first):
    """Tiles in a row and in one batch attend to the same tile of the reference window."""
    model = apply_windows(moving, reference_until=1.0)
    check_tiles(model, 2, cond_first, frames=7)
    check_tiles(model, 3, cond_first, frames=7)


def test_a_tile_follows_its_tile_of_the_reference_window_and_no_other(moving):
    start = wide_noise(2, 7)
    other = torch.cat([start[..., :TILE_WIDTH], noise(7, 9)], dim=-1)
    tiled = tile(apply_windows(moving, reference_until=1.0), 1)
    clips = [sample(tiled, noise=each, steps=1)[..., :TILE_WIDTH] for each in (start, other)]
    ours, theirs = (clip - clip.mean((2, 3), keepdim=True) for clip in clips)  # windows take on colours as a whole
    assert distance(ours, theirs) < CLOSE
