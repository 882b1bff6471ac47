"""Motion LoRAs as hooks: on the conds and steps that the host's nodes set, and gone after a run."""

import pytest
import torch
from animatediff_loom.motion_modules.files.motion_lora import add_motion_lora
from animatediff_loom.motion_modules.files.motion_lora_hook import create_motion_lora_hook
from animatediff_loom.motion_modules.motion_model import MotionModel
from comfy.hooks import EnumWeightTarget, HookGroup, create_target_dict
from comfy.model_management import unload_all_models
from comfy.model_patcher import ModelPatcher, ModelPatcherDynamic
from comfy.patcher_extension import WrappersMP

from tests.motion_modules.files.test_motion_lora import lora
from tests.support.host import CPU, copy_weights, same_weights, tiny_model
from tests.support.motion_files import TINY_WIDTHS
from tests.support.motion_loras import motion_lora_file
from tests.support.motion_models import apply_motion, apply_windows, load_motion, random_motion
from tests.support.sampling import (
    CFG,
    call,
    distance,
    fail_during,
    host_node,
    ksampler,
    prompt,
    record_unet,
    sampler_custom_advanced,
    set_hooks,
    start_hooks_at,
)
from tests.support.texts import expect_error

STRENGTH = 0.8


def hook(strength: float = STRENGTH, seed: int = 0, **kind):
    return create_motion_lora_hook(lora(motion_lora_file(seed=seed, **kind)), strength)


def combine(first, second):
    return call(host_node("nodes_hooks.CombineHooks"), hooks_A=first, hooks_B=second)


def on_both(hooks) -> dict:
    return {"positive": set_hooks(hooks, prompt(2)), "negative": set_hooks(hooks, prompt(3))}


@pytest.fixture(scope="module")
def motion() -> MotionModel:
    return load_motion()


@pytest.fixture(scope="module")
def moving(motion):
    return apply_motion(tiny_model(), motion)


@pytest.fixture(scope="module")
def plain(moving):
    return ksampler(moving)


def unpatched_weights(motion: MotionModel) -> dict[str, torch.Tensor]:
    """The host leaves the weights of a run patched until it loads others."""
    unload_all_models()
    return copy_weights(motion.patcher)


def changed(motion: MotionModel, strength: float = STRENGTH, seed: int = 0):
    return apply_motion(tiny_model(), add_motion_lora(motion, lora(motion_lora_file(seed=seed)), strength))


def test_a_hook_on_all_conds_is_the_lora_and_leaves_nothing(moving, motion, plain):
    before, expected = unpatched_weights(motion), ksampler(changed(motion))
    ksampler(moving)  # brings the plain weights back
    for _ in range(2):
        assert distance(ksampler(moving, **on_both(hook())), expected) < 1e-5
        assert same_weights(motion.patcher, before)
    assert torch.equal(ksampler(moving), plain)


def test_a_failed_run_leaves_nothing(moving, motion, plain):
    before = unpatched_weights(motion)
    with pytest.raises(ZeroDivisionError):
        ksampler(fail_during(moving), **on_both(hook()))
    assert same_weights(motion.patcher, before)
    assert torch.equal(ksampler(moving), plain)


def test_each_cond_has_hooks_of_its_own(moving, motion, plain):
    """With CFG 1 only the prompt counts, so that the hook of the negative prompt changes nothing."""
    two = {"positive": set_hooks(hook(), prompt(2)), "negative": set_hooks(hook(seed=1), prompt(3))}
    left, right = prompt(2), set_hooks(hook(seed=1), prompt(2))
    assert distance(ksampler(moving, **two), ksampler(moving, **on_both(hook()))) > 1e-3
    whole = [ksampler(model, cfg=1.0, negative=two["negative"]) for model in (moving, changed(motion, seed=1))]
    assert torch.equal(whole[0], ksampler(moving, cfg=1.0))
    assert distance(ksampler(moving, cfg=1.0, positive=right), whole[1]) < 1e-5
    assert torch.equal(ksampler(moving, cfg=1.0, positive=left), whole[0])


def masked(text, half: slice, hooks=None):
    mask = torch.zeros(1, 64, 64)
    mask[..., half] = 1
    inputs = {"cond_NEW": text, "strength": 1.0, "set_cond_area": "default", "mask": mask}
    return call(host_node("nodes_hooks.ConditioningSetProperties"), **inputs, hooks=hooks)


def test_a_mask_keeps_a_hook_to_its_half(moving, motion):
    """In one step each half of the prediction is that of its own weights."""
    left, right = slice(0, 32), slice(32, 64)
    both = masked(prompt(2), left, hook()) + masked(prompt(2), right)
    options = {"steps": 1, "cfg": 1.0}
    clip = ksampler(moving, positive=both, **options)
    expected = ksampler(changed(motion), **options), ksampler(moving, **options)
    assert distance(clip[..., :4], expected[0][..., :4]) < 1e-5
    assert distance(clip[..., 4:], expected[1][..., 4:]) < 1e-5
    assert distance(*expected) > 1e-3


@pytest.mark.parametrize("windowed", [False, True])
def test_keyframes_turn_a_hook_on_and_off(moving, plain, windowed):
    """Also where the prompt without hooks is evaluated first after a change, on which the host has no word."""
    model = apply_windows(moving, length=3, overlap=1) if windowed else moving
    sampled = {
        percent: ksampler(model, positive=set_hooks(start_hooks_at(percent, hook()), prompt(2)), steps=4)
        for percent in (0.0, 0.5, 1.0)
    }
    never, always = ksampler(model, steps=4), ksampler(model, positive=set_hooks(hook(), prompt(2)), steps=4)
    assert torch.equal(sampled[1.0], never)
    assert distance(sampled[0.5], never) > 1e-3 and distance(sampled[0.5], always) > 1e-3
    assert distance(sampled[0.0], always) < 1e-5


def end_at(percent: float, hooks):
    keyframe, frames = host_node("nodes_hooks.CreateHookKeyframe"), None
    for strength, start in ((1.0, 0.0), (0.0, percent)):
        frames = call(keyframe, strength_mult=strength, start_percent=start, prev_hook_kf=frames)
    return call(host_node("nodes_hooks.SetHookKeyframes"), hooks=hooks, hook_kf=frames)


def test_a_prompt_without_hooks_never_sees_them(moving, motion):
    """After a change of strength, the host says nothing before it evaluates a prompt without hooks."""
    before, seen = unpatched_weights(motion), []

    def look(executor, *arguments, **more):
        seen.append((arguments[5]["cond_or_uncond"], same_weights(motion.patcher, before)))
        return executor(*arguments, **more)

    model = moving.clone()
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", look)
    ksampler(model, negative=set_hooks(end_at(0.4, hook()), prompt(3)), steps=4)
    assert [chunks for chunks, _ in seen] == [[0], [1]] * 4
    assert [intact for _, intact in seen] == [True, False, True, False, True, True, True, True]


def test_several_hooks_add_up(moving, motion):
    both = combine(hook(), hook(seed=1, rank=2))
    summed = add_motion_lora(motion, lora(motion_lora_file()), STRENGTH)
    summed = add_motion_lora(summed, lora(motion_lora_file(seed=1, rank=2)), STRENGTH)
    assert distance(ksampler(moving, **on_both(both)), ksampler(apply_motion(tiny_model(), summed))) < 1e-5


def test_a_hook_changes_the_motion_models_that_it_fits(motion):
    other = random_motion(tiny_model(), "scale_shift")
    two = apply_motion(apply_motion(tiny_model(), other), motion)
    expected = apply_motion(
        apply_motion(tiny_model(), other), add_motion_lora(motion, lora(motion_lora_file()), STRENGTH)
    )
    assert distance(ksampler(two, **on_both(hook())), ksampler(expected)) < 1e-5


def test_a_hook_on_top_of_a_lora(motion):
    first = changed(motion, seed=1)
    summed = add_motion_lora(motion, lora(motion_lora_file(seed=1)), STRENGTH)
    summed = apply_motion(tiny_model(), add_motion_lora(summed, lora(motion_lora_file()), STRENGTH))
    assert distance(ksampler(first, **on_both(hook())), ksampler(summed)) < 1e-5


def test_weights_that_page_in_are_replaced(motion, moving):
    """As the host does with its own, since it cannot patch such weights by hooks."""
    paging = ModelPatcherDynamic(load_motion().patcher.model, load_device=CPU, offload_device=CPU)
    paging.cached_patcher_init = motion.patcher.cached_patcher_init
    model = moving.clone()
    (key,) = model.additional_models
    model.set_additional_models(key, [paging])
    assert distance(ksampler(model, **on_both(hook())), ksampler(moving, **on_both(hook()))) < 1e-5


def test_clones_on_several_devices_have_the_hook():
    """The host's code for several GPUs, with the CPU under two names as its two devices."""
    if not hasattr(ModelPatcher, "deepclone_multigpu"):
        pytest.skip("this host has no clones for several GPUs")
    start = tiny_model()
    start.cached_patcher_init = (lambda disable_dynamic=False: tiny_model(), ())
    one = apply_motion(start, load_motion())
    spread, copy = one.clone(), one.deepclone_multigpu(new_load_device=torch.device("cpu", 0))
    copy.is_multigpu_base_clone = True
    spread.set_additional_models("multigpu", [copy])
    two = {"positive": set_hooks(hook(), prompt(2)), "negative": set_hooks(hook(seed=1), prompt(3))}
    assert distance(ksampler(spread, **two), ksampler(one, **two)) < 1e-5


@pytest.mark.parametrize("second", ["plain", "animated"])
@pytest.mark.parametrize("hooked", [("positive",), ("negative",), ("positive", "negative")], ids="+".join)
def test_each_model_of_a_dual_model_guider_has_the_hooks_of_its_own_prompt(moving, motion, plain, second, hooked):
    """Both models run the same motion modules, one after the other."""
    hooks = {name: hook(seed=number) for number, name in enumerate(hooked)}
    texts = {"positive": prompt(2), "negative": prompt(3)}
    texts |= {name: set_hooks(group, texts[name]) for name, group in hooks.items()}
    before, other = unpatched_weights(motion), tiny_model()
    if second == "animated":
        other = apply_motion(other, motion)
    dual, single = (
        sampler_custom_advanced(call(host_node(f"nodes_custom_sampler.{name}"), model=moving, cfg=CFG, **texts, **more))
        for name, more in (("DualModelGuider", {"model_negative": other}), ("CFGGuider", {}))
    )
    assert distance(dual, single) < 1e-5 and distance(dual, plain) > 1e-3
    assert same_weights(motion.patcher, before)


def test_hooks_of_the_text_encoder_leave_it_alone(moving, motion):
    group = hook()
    (motion_hook,) = group.hooks
    clip = create_target_dict(EnumWeightTarget.Clip)
    assert not motion_hook.add_hook_patches(moving, {}, clip, HookGroup())


WIDE = motion_lora_file(widths=TINY_WIDTHS["SDXL"][1:] * 2)
REFUSED = {
    "no motion model": (tiny_model, motion_lora_file(), "no motion model acts on the sampled model"),
    "no layer": (lambda: apply_motion(tiny_model(), random_motion(tiny_model(), "scale_shift")), None, "no layer"),
    "other widths": (lambda: apply_motion(tiny_model()), WIDE, "for the same base model"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_before_sampling(kind):
    make_model, tensors, words = REFUSED[kind]
    model, calls = record_unet(make_model())
    with expect_error("Motion LoRA 'pan.ckpt'", words):
        ksampler(model, positive=set_hooks(create_motion_lora_hook(lora(tensors), 1.0), prompt(2)))
    assert not calls.calls


def test_what_does_not_match_is_counted(moving, caplog):
    with caplog.at_level("WARNING"):
        ksampler(moving, steps=1, positive=set_hooks(hook(mid=True), prompt(2)))
    assert "'pan.ckpt' (strength 0.8): 160 of 168 layers" in caplog.text
