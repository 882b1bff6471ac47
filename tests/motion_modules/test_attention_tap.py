"""The tap on temporal attention: what it is told, and what its edits change."""

import pytest
import torch
from animatediff_loom.motion_modules.attention_tap import ModuleTaps
from animatediff_loom.motion_modules.unet.placement import add_attention_tap

from tests.support.host import tiny_model
from tests.support.motion_models import (
    FRAMES,
    apply_motion,
    apply_windows,
    feature_maps,
    load_motion,
    motion_inputs,
    random_module,
)
from tests.support.sampling import sample

CLIP_FRAMES = 8
FIRST, SECOND = (0, 1, 2, 3, 4, 5), (2, 3, 4, 5, 6, 7)  # windows of 6 frames that overlap by 4


class Recorder:
    """A tap that keeps what it is told and changes nothing."""

    def __init__(self):
        self.calls, self.shapes = [], []

    def __call__(self, call, q, k, v):
        assert q.shape == k.shape == v.shape
        self.calls.append(call)
        self.shapes.append(tuple(q.shape))


def use_first_frame(call, q, k, v):
    return q, k[:, :1].expand_as(k), v[:, :1].expand_as(v)


def negate(call, q, k, v):
    return q, k, -v


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def test_a_tap_sees_every_attention_of_every_site_once(model):
    """Sites, frames, kinds of cond and noise level of one evaluation with a positive and a negative prompt."""
    recorder, motion_model = Recorder(), load_motion()
    tapped = add_attention_tap(apply_motion(model, motion_model), recorder)
    assert torch.equal(
        sample(tapped, CLIP_FRAMES, steps=1), sample(apply_motion(model, motion_model), CLIP_FRAMES, steps=1)
    )
    seen = [(call.site, call.index) for call in recorder.calls]
    assert sorted(seen) == sorted((site, index) for site in motion_model.specs for index in range(2))
    names = {call.index: call.name for call in recorder.calls}
    assert names == {index: f"transformer_blocks.0.attention_blocks.{index}" for index in range(2)}
    for call, shape in zip(recorder.calls, recorder.shapes, strict=True):
        assert call.frames == shape[1] == CLIP_FRAMES
        assert call.windows == (tuple(range(CLIP_FRAMES)),) * 2
        assert sorted(call.chunk_kinds) == [0, 1]
        assert call.sigma == pytest.approx(recorder.calls[0].sigma) and call.sigma > 10
        assert len(range(*call.positions.indices(64))) * 2 == shape[0]


def test_a_tap_is_told_the_frames_of_context_windows(model):
    """Every evaluation holds whole windows; together they are those of the schedule, for both kinds of cond."""
    recorder, motion_model = Recorder(), load_motion()
    windowed = apply_windows(apply_motion(model, motion_model), length=6, overlap=4)
    sample(add_attention_tap(windowed, recorder), CLIP_FRAMES, steps=1)
    site = next(iter(motion_model.specs))
    calls = [call for call in recorder.calls if (call.site, call.index) == (site, 0)]
    seen = [pair for call in calls for pair in zip(call.chunk_kinds, call.windows, strict=True)]
    assert sorted(seen) == [(kind, window) for kind in (0, 1) for window in (FIRST, SECOND)]
    assert {call.frames for call in recorder.calls} == {6}


def test_a_tap_is_told_the_frames_of_views(model):
    recorder, motion_model = Recorder(), load_motion()
    windowed = apply_windows(apply_motion(model, motion_model), "view", length=6, overlap=4)
    sample(add_attention_tap(windowed, recorder), CLIP_FRAMES, steps=1)
    site = next(iter(motion_model.specs))
    calls = [call for call in recorder.calls if (call.site, call.index) == (site, 0)]
    assert [call.windows for call in calls] == [(FIRST,) * 2, (SECOND,) * 2]
    assert {call.frames for call in calls} == {6}


def test_keys_and_values_of_the_first_frame_give_every_frame_its_value():
    """Equal keys have equal weights, so softmax(q k^T) v is v of the first frame."""
    module, x = random_module("low_rank_attention"), feature_maps(chunks=1)
    result = module(x, motion_inputs(chunks=1, taps=ModuleTaps((use_first_frame,), module)))
    z = module.norm(x).movedim(1, -1) + module.positions[:FRAMES, None, None]
    value = module.to_v(z)[:1]
    expected = x + module.to_out(value * (1 + module.to_scale(z))).movedim(-1, 1)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    assert (result - module(x, motion_inputs(chunks=1))).abs().max() > 1e-2


def test_taps_run_in_order_and_each_sees_what_the_one_before_made():
    """The second tap takes values from the first frame that the first tap has negated."""
    module, x, recorder = random_module("low_rank_attention"), feature_maps(chunks=1), Recorder()
    values = []
    taps = (negate, recorder, lambda call, q, k, v: values.append(v), use_first_frame)
    result = module(x, motion_inputs(chunks=1, taps=ModuleTaps(taps, module)))
    z = module.norm(x).movedim(1, -1) + module.positions[:FRAMES, None, None]
    expected = x + module.to_out(-module.to_v(z)[:1] * (1 + module.to_scale(z))).movedim(-1, 1)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(values[0], -module.to_v(z.flatten(1, 2).transpose(0, 1)), rtol=0, atol=1e-5)
    assert [call.name for call in recorder.calls] == [""]


def test_a_tap_on_a_clone_leaves_the_model_alone(model):
    moving = apply_motion(model)
    tapped = add_attention_tap(moving, negate)
    before = sample(moving, CLIP_FRAMES, steps=1)
    assert not torch.equal(sample(tapped, CLIP_FRAMES, steps=1), before)
    assert torch.equal(sample(moving, CLIP_FRAMES, steps=1), before)
