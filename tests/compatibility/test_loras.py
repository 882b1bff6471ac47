"""LoRAs on the UNet, given to the whole run or by the host's scheduled hooks, with an animated model."""

import comfy.hooks
import pytest
import torch
from comfy.model_management import unload_all_models

from tests.support.host import copy_weights, same_weights, tiny_model
from tests.support.motion_models import apply_motion, load_motion
from tests.support.sampling import distance, ksampler, load_lora, make_lora_hooks, prompt, set_hooks, start_hooks_at


def test_a_lora_works_the_same_on_both_sides_of_ours(model, still_motion):
    moves = load_motion()
    clip = ksampler(load_lora(apply_motion(model, moves)))
    assert torch.equal(ksampler(apply_motion(load_lora(model), moves)), clip)
    plain = ksampler(load_lora(model))
    assert torch.equal(ksampler(load_lora(apply_motion(model, still_motion))), plain)
    assert distance(clip, plain) > 1e-3
    assert distance(clip, ksampler(apply_motion(model, moves))) > 1e-4


def test_a_clone_with_a_lora_beside_one_without(model):
    moves = load_motion()
    without, clone = apply_motion(model, moves), load_lora(apply_motion(model, moves))
    first = ksampler(without)
    assert distance(ksampler(clone), first) > 1e-4
    assert torch.equal(ksampler(without), first)


def model_as_lora_hooks():
    other = tiny_model()
    weights = comfy.hooks.get_patch_weights_from_model(other)
    weights = {key: value * 0.5 for key, value in weights.items() if "attn1.to_q" in key}
    return comfy.hooks.create_hook_model_as_lora(weights, None, strength_model=1.0, strength_clip=0.0)


@pytest.mark.parametrize("make_hooks", [make_lora_hooks, model_as_lora_hooks])
def test_hooks_for_the_whole_run_do_what_the_lora_does(model, moving, still, make_hooks):
    before = copy_weights(model)
    both = {"positive": set_hooks(make_hooks(), prompt(2)), "negative": set_hooks(make_hooks(), prompt(3))}
    clip, plain = ksampler(moving, **both), ksampler(model, **both)
    assert torch.equal(ksampler(still, **both), plain)
    assert distance(clip, plain) > 1e-3
    assert distance(clip, ksampler(moving)) > 1e-4
    unload_all_models()
    assert same_weights(model, before)


def test_a_lora_hook_equals_the_lora(model, moving):
    hooks = make_lora_hooks()
    clip = ksampler(moving, positive=set_hooks(hooks, prompt(2)), negative=set_hooks(hooks, prompt(3)))
    assert distance(clip, ksampler(load_lora(moving))) < 1e-5


@pytest.mark.parametrize("mode", ["MaxSpeed", "MinVram"])
def test_scheduled_hooks_begin_when_they_should(model, moving, mode):
    """The host evaluates a prompt with hooks and one without separately, and changes weights in between."""
    model = moving.clone()
    model.set_hook_mode(getattr(comfy.hooks.EnumHookMode, mode))
    hooks = start_hooks_at(0.5, make_lora_hooks())
    scheduled = ksampler(model, positive=set_hooks(hooks, prompt(2)), steps=4)
    whole = ksampler(model, positive=set_hooks(make_lora_hooks(), prompt(2)), steps=4)
    never = ksampler(model, positive=set_hooks(start_hooks_at(1.0, make_lora_hooks()), prompt(2)), steps=4)
    without = ksampler(model, steps=4)
    assert scheduled.isfinite().all()
    assert distance(scheduled, whole) > 1e-4
    assert distance(scheduled, without) > 1e-4
    assert distance(never, without) < 1e-5
