"""Sampling with motion leaves the host, its model and everybody else's clips as they were, also when it is cut off."""

from copy import deepcopy

import comfy.model_management
import pytest
import torch
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.sampling.animate import BETA_SCHEDULE_CHOICES, animate
from comfy.patcher_extension import WrappersMP
from torch.overrides import _get_current_function_mode_stack

from tests.support.host import changed_names, copy_weights, same_weights, take_snapshot, tiny_model
from tests.support.motion_files import V1, V2, V3, Expected
from tests.support.sampling import sample


def load(expected: Expected, seed: int = 0):
    return motion_model_from_tensors(expected.file(seed), f"{expected.name} {seed}", expected.choice)


def looks(options: dict) -> list:
    """The structure of model_options, with functions and objects by identity."""
    if isinstance(options, dict):
        return [(key, looks(value)) for key, value in options.items()]
    return [looks(value) for value in options] if isinstance(options, list) else [id(options)]


@pytest.fixture
def untouched(request, host_before):
    """A plain MODEL that, like the host, must be after the test as it was before it.

    torch.compile, which other tests of the process may have used, replaces methods of
    torch.nn.Module for good, so that torch is compared with the start of the test.
    """
    torch_before = {name: value for name, value in take_snapshot().items() if name.startswith("torch.")}
    plain = tiny_model(request.param.base)
    weights, options, still = copy_weights(plain), looks(plain.model_options), sample(plain, steps=1)
    yield plain
    assert looks(plain.model_options) == options
    assert not plain.additional_models and not plain.wrappers and not plain.object_patches
    assert torch.equal(sample(plain, steps=1), still)
    assert same_weights(plain, weights)
    assert not _get_current_function_mode_stack()
    assert changed_names(host_before | torch_before, take_snapshot()) == []


on_untouched = pytest.mark.parametrize(
    ("untouched", "expected"), ((V1, V1), (V3, V3)), ids=("joint norm", "per frame"), indirect=["untouched"]
)


def test_the_snapshot_sees_a_change(host_before, monkeypatch):
    assert len(host_before) > 5000
    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "clone", lambda self: self)
    monkeypatch.setattr(comfy.samplers, "calc_cond_batch", lambda *args: None)
    changed = changed_names(host_before, take_snapshot())
    assert {"comfy.model_patcher.ModelPatcher.clone", "comfy.samplers.calc_cond_batch"} <= set(changed)


@on_untouched
def test_a_clip(untouched, expected):
    assert sample(animate(untouched, load(expected), MotionSettings())).isfinite().all()


@on_untouched
def test_two_prompts_in_a_row(untouched, expected):
    motion_model = load(expected)
    weights = copy_weights(motion_model.patcher)
    first = sample(animate(untouched, motion_model, MotionSettings()))
    again = animate(untouched, motion_model, MotionSettings())
    assert torch.equal(sample(again), first) and torch.equal(sample(again), first)
    assert same_weights(motion_model.patcher, weights)


class Stop(Exception):
    pass


def stop_in_second_step(step, *_):
    if step == 0:
        raise Stop


def interrupt_in_second_step(step, *_):
    if step == 0:
        comfy.model_management.interrupt_current_processing()


def stopping_unet(executor, *args, **kwargs):
    executor(*args, **kwargs)
    raise Stop


@on_untouched
@pytest.mark.parametrize("way", ("callback", "interruption", "inside the UNet", "inside a layer"))
def test_cut_off_half_way(untouched, expected, way, monkeypatch):
    """And then a good clip from the same MODEL, the same as it would have been."""
    animated = animate(untouched, load(expected), MotionSettings())
    options, whole = looks(animated.model_options), sample(animated)
    _cut_off(animated, way)
    assert looks(animated.model_options) == options
    assert not _get_current_function_mode_stack()
    assert torch.equal(sample(animated), whole)


def _cut_off(animated, way: str) -> None:
    stopped, callback = animated, None
    if way == "callback":
        callback = stop_in_second_step
    elif way == "interruption":
        callback = interrupt_in_second_step
    elif way == "inside the UNet":
        stopped = animated.clone()
        stopped.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", stopping_unet)
    else:
        stopped = animated.clone()
        stopped.set_model_attn2_output_patch(_stop)
    with pytest.raises((Stop, comfy.model_management.InterruptProcessingException)):
        sample(stopped, callback=callback)


def _stop(*_):
    raise Stop


@on_untouched
def test_strength_zero_is_the_model_without_motion(untouched, expected):
    nothing = animate(untouched, load(expected), MotionSettings(strength=0))
    assert torch.equal(sample(nothing), sample(untouched))
    assert torch.equal(sample(nothing, frames=1), sample(untouched, frames=1))


@on_untouched
def test_zero_output_projections_are_the_model_without_motion(untouched, expected):
    tensors = {name: 0 * value if "proj_out" in name else value for name, value in expected.file().items()}
    nothing = animate(untouched, motion_model_from_tensors(tensors, "zero"), MotionSettings(), "as the model")
    difference = (sample(nothing, steps=1) - sample(untouched, steps=1)).abs().max()
    assert (difference > 0) == expected.joint_unet_norm


@on_untouched
def test_a_clone_and_its_original(untouched, expected):
    """A further motion model on a clone is no affair of the clip that it was cloned from."""
    once = animate(untouched, load(expected), MotionSettings())
    clip, options, models = sample(once), looks(once.model_options), set(once.additional_models)
    twice = animate(once, load(expected, seed=1), MotionSettings(strength=0.5))
    other = sample(twice)
    assert (other - clip).abs().max() > 1e-3
    assert (looks(once.model_options), set(once.additional_models)) == (options, models)
    assert torch.equal(sample(once), clip)
    assert torch.equal(sample(twice.clone()), other)


@on_untouched
def test_settings_of_clones_stay_apart(untouched, expected):
    motion_model = load(expected)
    weak, strong = (animate(untouched, motion_model, MotionSettings(strength=s)) for s in (0.3, 1.0))
    first = [sample(weak), sample(strong)]
    assert (first[0] - first[1]).abs().max() > 1e-3
    assert all(torch.equal(a, b) for a, b in zip(first, (sample(weak), sample(strong)), strict=True))


def test_a_plain_clone_beside_an_animated_one():
    """Stills and a clip from one checkpoint in one graph, in either order."""
    plain, motion_model = tiny_model(), load(V2)
    still = sample(plain)
    animated = animate(plain, motion_model, MotionSettings())
    clip = sample(animated)
    assert torch.equal(sample(plain.clone()), still)
    assert torch.equal(sample(animated), clip)


@pytest.mark.parametrize("choice", BETA_SCHEDULE_CHOICES)
def test_every_beta_schedule_leaves_the_model(choice):
    plain = tiny_model()
    sigmas = deepcopy(plain.model.model_sampling.sigmas)
    animated = animate(plain, load(V3), MotionSettings(), choice)
    before = animated.get_model_object("model_sampling").sigmas.clone()
    assert sample(animated, steps=1).isfinite().all()
    sample(plain, steps=1)
    assert torch.equal(plain.model.model_sampling.sigmas, sigmas)
    assert torch.equal(animated.get_model_object("model_sampling").sigmas, before)
