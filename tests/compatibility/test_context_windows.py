"""The host's Context Windows (Manual) node with an animated model."""

import inspect

import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError

from tests.support.motion_models import apply_motion, load_motion
from tests.support.sampling import HOST_LENGTH as LENGTH
from tests.support.sampling import apply_host_windows, distance, host_node, noise, record_unet, sample

FRAMES = 6


def has_causal_fix() -> bool:
    node = host_node("nodes_context_windows.ContextWindowsManualNode")
    return "causal_window_fix" in inspect.signature(node.execute).parameters


def test_windows_without_overlap_are_clips_of_their_own(moving):
    start = noise(FRAMES)
    clip = sample(apply_host_windows(moving), noise=start)
    parts = [sample(moving, noise=part) for part in start.split(LENGTH)]
    assert distance(clip, torch.cat(parts)) < 1e-5
    assert distance(clip, sample(moving, noise=start)) > 1e-3


def test_one_window_over_all_frames_is_no_window(moving):
    assert torch.equal(sample(apply_host_windows(moving, context_length=FRAMES), FRAMES), sample(moving, FRAMES))


def test_the_node_works_the_same_on_both_sides_of_ours(model, still_motion):
    moves = load_motion()
    clip = sample(apply_host_windows(apply_motion(model, moves), context_overlap=1), FRAMES)
    assert torch.equal(sample(apply_motion(apply_host_windows(model, context_overlap=1), moves), FRAMES), clip)
    plain = sample(apply_host_windows(model, context_overlap=1), FRAMES)
    assert torch.equal(sample(apply_host_windows(apply_motion(model, still_motion), context_overlap=1), FRAMES), plain)
    assert distance(clip, plain) > 1e-3


@pytest.mark.parametrize("schedule", ["standard_static", "standard_uniform", "looped_uniform", "batched"])
@pytest.mark.parametrize("freenoise", [False, True])
def test_every_schedule(moving, schedule, freenoise):
    model, seen = record_unet(moving)
    clip = sample(
        apply_host_windows(model, context_overlap=1, context_schedule=schedule, freenoise=freenoise), FRAMES, steps=1
    )
    assert clip.isfinite().all()
    assert max(len(call["x"]) for call in seen.calls) == 2 * LENGTH


def test_more_frames_than_positions(model):
    few = apply_motion(model, load_motion(LENGTH, family="AnimateDiff v3"))
    with pytest.raises(LoomError, match=r"6 frames at once.*positions for 3.*`context_length` of up to 3"):
        sample(few, FRAMES)
    assert sample(apply_host_windows(few), FRAMES).isfinite().all()


def test_the_frame_that_the_host_puts_before_a_window_counts(model):
    if not has_causal_fix():
        pytest.skip("this host adds no frame to a window")
    exact, watching = record_unet(apply_motion(model, load_motion(LENGTH, family="AnimateDiff v3")))
    with pytest.raises(LoomError, match="4 frames at once"):
        sample(apply_host_windows(exact, causal_window_fix=True), FRAMES)
    assert not watching.calls
    roomy, seen = record_unet(apply_motion(model, load_motion(LENGTH + 1, family="AnimateDiff v3")))
    fixed = sample(apply_host_windows(roomy, causal_window_fix=True), FRAMES)
    assert [len(call["x"]) for call in seen.calls[:2]] == [2 * LENGTH, 2 * (LENGTH + 1)]
    assert distance(fixed, sample(apply_host_windows(roomy), FRAMES)) > 1e-4


def test_windows_along_another_dimension_do_not_split_the_clip(model):
    with pytest.raises(LoomError, match="6 frames at once"):
        sample(apply_host_windows(apply_motion(model, load_motion(LENGTH, family="AnimateDiff v3")), dim=2), FRAMES)
