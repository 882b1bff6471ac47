"""Sampling in windows: what the model sees, and what comes of it, against a loop written out here."""

import importlib
from itertools import pairwise

import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.motion_modules.run_state import APPLIED
from animatediff_loom.sampling.windows.fusion import FUSIONS
from animatediff_loom.sampling.windows.handler import LoomContextHandler
from animatediff_loom.sampling.windows.schedules import WindowLayout
from animatediff_loom.sampling.windows.settings import ContextSettings, normalise_weights
from comfy.model_management import InterruptProcessingException, interrupt_current_processing
from comfy.patcher_extension import WrappersMP
from comfy.samplers import KSAMPLER

from tests.support.host import tiny_model
from tests.support.motion_models import DIVIDING, LENGTH, OVERLAP, apply_motion, apply_windows, load_motion
from tests.support.sampling import (
    LATENT_SIZE,
    call,
    distance,
    noise,
    prompt,
    record_options,
    record_unet,
    sample,
    sampler_custom_advanced,
)

FRAMES, STEPS, CFG = 10, 3, 5.0
CLOSE = 2e-5


@pytest.fixture(scope="module")
def plain():
    return tiny_model()


@pytest.fixture(scope="module")
def moving(plain):
    return apply_motion(plain)


@pytest.mark.parametrize("schedule", ["static", "uniform", "looped", "batched", "view"])  # with closed_loop off
@pytest.mark.parametrize("frames", [LENGTH, LENGTH - 1])
def test_one_window_over_all_frames_is_no_window(moving, schedule, frames):
    assert torch.equal(sample(apply_windows(moving, schedule), frames), sample(moving, frames))


@pytest.mark.parametrize("schedule", DIVIDING)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_plain_loop_makes_the_same(moving, schedule, fusion):
    settings = ContextSettings(schedule, WindowLayout(LENGTH, OVERLAP, closed_loop=True), fusion)
    clip = sampled(apply_windows(moving, schedule, fuse=fusion, closed_loop=True), euler)
    assert distance(clip, sampled(moving, looped_euler(settings))) < CLOSE
    assert distance(clip, sampled(moving, euler)) > 1e-2


def sampled(model, function) -> torch.Tensor:
    """Return the result of SamplerCustomAdvanced with a custom sampler."""
    custom = importlib.import_module("comfy_extras.nodes_custom_sampler")
    guider = call(custom.CFGGuider, model=model, positive=prompt(2), negative=prompt(3), cfg=CFG)
    inputs = {
        "noise": call(custom.RandomNoise, noise_seed=1),
        "guider": guider,
        "sampler": KSAMPLER(function),
        "sigmas": call(custom.BasicScheduler, model=model, scheduler="normal", steps=STEPS, denoise=1.0),
        "latent_image": {"samples": torch.zeros_like(noise(FRAMES))},
    }
    return call(custom.SamplerCustomAdvanced, **inputs)["samples"]


@torch.no_grad()
def euler(model, x, sigmas, extra_args=None, callback=None, disable=None):
    for now, then in pairwise(sigmas):
        clean = model(x, now.expand(len(x)), **extra_args)
        x = x + (x - clean) / now * (then - now)
    return x


def looped_euler(settings: ContextSettings):
    """Euler's method that goes through the windows itself, one by one, on a model that knows nothing of them."""

    @torch.no_grad()
    def windowed_euler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        for step, (now, then) in enumerate(pairwise(sigmas)):
            clean = torch.zeros_like(x)
            windows = settings.plan_windows(len(x), step)
            for window, weights in zip(windows, normalise_weights(windows, settings, len(x)), strict=True):
                part = model(x[list(window)], now.expand(len(window)), **extra_args)
                for frame, weight, predicted in zip(window, weights, part, strict=True):
                    clean[frame] += weight * predicted
            x = x + (x - clean) / now * (then - now)
        return x

    return windowed_euler


@pytest.mark.parametrize("schedule", DIVIDING)
def test_several_windows_at_once_make_what_each_alone_makes(moving, schedule):
    grouped, seen = record_unet(apply_windows(moving, schedule, windows_at_once=3))
    alone, single = record_unet(apply_windows(moving, schedule, windows_at_once=1))
    assert distance(sample(grouped, FRAMES), sample(alone, FRAMES)) < CLOSE
    group_size = 2 if schedule == "batched" else 3
    assert max(len(call["x"]) for call in seen.calls) == 2 * group_size * LENGTH
    assert max(len(call["x"]) for call in single.calls) == 2 * LENGTH
    assert sum(len(call["x"]) for call in seen.calls) == sum(len(call["x"]) for call in single.calls)


@pytest.mark.parametrize("family", ["AnimateDiff v1"])
def test_norms_over_frames_stay_inside_their_window(plain, family):
    model = apply_motion(plain, load_motion(family=family))
    assert model.model_options["transformer_options"][APPLIED][0].joint_unet_norm
    grouped, alone = (sample(apply_windows(model, windows_at_once=count), FRAMES, steps=1) for count in (3, 1))
    assert distance(grouped, alone) < CLOSE


def test_windows_are_evaluated_one_by_one_where_memory_is_short(plain, moving):
    windowed, seen = record_unet(apply_windows(moving, windows_at_once=4))
    factor, plain.model.memory_usage_factor = plain.model.memory_usage_factor, 1e18
    try:
        single = sample(windowed, FRAMES)
    finally:
        plain.model.memory_usage_factor = factor
    assert {len(call["x"]) for call in seen.calls} == {LENGTH}
    assert distance(single, sample(windowed, FRAMES)) < CLOSE


@pytest.mark.parametrize("schedule", DIVIDING)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_constant_prediction_stays_constant(plain, schedule, fusion):
    handler = LoomContextHandler((ContextSettings(schedule, WindowLayout(LENGTH, OVERLAP), fusion),))
    latents, sigmas = torch.zeros(FRAMES, 4, 2, 2), torch.tensor([5.0, 1.0, 0.0])
    options = {"transformer_options": {"sample_sigmas": sigmas}}

    def constant(model, conds, x_in, timestep, model_options):
        return [torch.full_like(x_in, 3.0) for _ in conds]

    plain.model.current_patcher = plain
    for sigma in sigmas[:-1]:
        (fused,) = handler.execute(constant, plain.model, [[]], latents, sigma.expand(FRAMES), options)
        assert torch.allclose(fused, torch.full_like(fused, 3.0), atol=1e-6, rtol=0)


def test_a_model_without_motion_samples_each_frame_alone(plain):
    assert distance(sample(apply_windows(plain), FRAMES), sample(plain, FRAMES)) < CLOSE


def test_the_order_of_the_nodes_is_all_one(plain, moving):
    clip = sample(apply_windows(moving), FRAMES)
    assert torch.equal(sample(apply_motion(apply_windows(plain)), FRAMES), clip)


def test_later_windows_follow_earlier_ones(moving):
    both, seen = record_options(apply_windows(apply_windows(moving, length=5), length=3, start_percent=0.5))
    sample(both, FRAMES, steps=4)
    lengths = [call["options"]["ad_params"]["context_length"] for call in seen]
    assert lengths == sorted(lengths, reverse=True) and set(lengths) == {5, 3}


def test_the_same_start_replaces(moving):
    again = apply_windows(apply_windows(moving, length=5), length=3)
    assert torch.equal(sample(again, FRAMES), sample(apply_windows(moving, length=3), FRAMES))


def test_nothing_is_divided_before_the_first_start(moving):
    late, seen = record_unet(apply_windows(moving, start_percent=0.5))
    sample(late, FRAMES, steps=4)
    frames = [len(call["x"]) // 2 for call in seen.calls]
    assert frames[0] == FRAMES and frames[-1] != FRAMES


def test_what_other_packs_read(moving):
    windowed, seen = record_options(apply_windows(moving, windows_at_once=2))
    sample(windowed, FRAMES, steps=1)
    numbers = [call["options"]["ad_params"]["sub_idxs"] for call in seen]
    assert numbers == [[0, 1, 2, 3, 3, 4, 5, 6], [6, 7, 8, 9]]
    assert {call["options"]["ad_params"]["full_length"] for call in seen} == {FRAMES}
    assert [call["options"]["context_window"].index_list for call in seen] == numbers


def test_windows_have_cond_ids_of_their_own(moving):
    windowed, seen = record_options(apply_windows(moving, windows_at_once=1))
    sample(windowed, FRAMES, steps=2)
    ids = [tuple(call["options"]["uuids"]) for call in seen]
    assert len(set(ids)) == 3 and ids[:3] == ids[3:]


def test_the_view_schedule_keeps_the_clip_whole(plain, moving):
    viewed, seen = record_unet(apply_windows(moving, "view"))
    clip = sample(viewed, FRAMES)
    assert {len(call["x"]) for call in seen.calls} == {2 * FRAMES}
    assert distance(clip, sample(moving, FRAMES)) > 1e-2
    assert torch.equal(sample(apply_windows(plain, "view"), FRAMES), sample(plain, FRAMES))


def test_views_without_overlap_are_windows_of_a_model_that_keeps_frames_apart(plain):
    """All that frames know of each other here comes through temporal attention."""
    moves = apply_motion(plain)
    views, windows = (sample(apply_windows(moves, kind, overlap=0), 2 * LENGTH) for kind in ("view", "batched"))
    assert distance(views, windows) < CLOSE


@pytest.mark.parametrize("frames", [3, 8, 16])
def test_a_short_loop_knows_no_first_frame(plain, frames):
    """With the same noise turned by some frames, a loop is the same loop, begun elsewhere."""
    loop = apply_windows(apply_motion(plain), "looped", length=16, closed_loop=True, fuse="flat")
    start, turn = noise(frames), frames // 2
    clip = sample(loop, noise=start, steps=1)
    turned = sample(loop, noise=start.roll(turn, 0), steps=1)
    if frames % 2 == 0:
        assert distance(turned, clip.roll(turn, 0)) < CLOSE
    assert distance(clip, sample(apply_motion(plain), noise=start, steps=1)) > 1e-3


@pytest.mark.parametrize("schedule", [*DIVIDING, "view"])
def test_positions_limit_a_window_and_not_the_clip(plain, schedule):
    few = apply_motion(plain, load_motion(LENGTH, family="AnimateDiff v3"))
    with pytest.raises(LoomError, match="10 frames at once"):
        sample(few, FRAMES)
    assert sample(apply_windows(few, schedule), FRAMES, steps=1).isfinite().all()
    longer, seen = record_unet(apply_windows(few, schedule, length=LENGTH + 1))
    with pytest.raises(LoomError, match=r"5 frames at once.*positions for 4.*`context_length` of up to 4"):
        sample(longer, FRAMES)
    assert not seen.calls


def test_a_late_start_counts_as_the_whole_clip(plain):
    few = apply_motion(plain, load_motion(LENGTH, family="AnimateDiff v3"))
    with pytest.raises(LoomError, match=r"10 frames at once.*`start_percent` 0"):
        sample(apply_windows(few, start_percent=0.2), FRAMES)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"overlap": 4},
            "`context_overlap` is 4 and `context_length` is 4. Set `context_overlap` below",
        ),
        ({"overlap": 9}, "`context_overlap` is 9"),
    ],
)
def test_an_overlap_that_is_too_long(moving, change, words):
    with pytest.raises(LoomError, match=words):
        apply_windows(moving, **change)


def test_a_loop_of_two_frames(moving):
    loop, seen = record_unet(apply_windows(moving, "looped", closed_loop=True))
    with pytest.raises(LoomError, match="2 frames, but the looped schedule needs at least 3"):
        sample(loop, 2)
    assert not seen.calls
    assert torch.equal(sample(apply_windows(moving, "looped", closed_loop=False), 2), sample(moving, 2))
    assert sample(moving, 2).isfinite().all()


SEVEN = {
    "cross_attn": torch.zeros(7, 7, 32),
    "pooled_output": torch.zeros(7, 1280),
    "mask": torch.ones(7, 64, 64),
    "concat_latent_image": torch.zeros(7, 4, LATENT_SIZE, LATENT_SIZE),
    "concat_mask": torch.ones(7, 1, LATENT_SIZE, LATENT_SIZE),
}


def with_seven(name: str) -> list:
    ((text, extra),) = prompt(2)
    return [[SEVEN[name], extra]] if name == "cross_attn" else [[text, extra | {name: SEVEN[name]}]]


NAMES = {
    "cross_attn": "The positive prompt",
    "pooled_output": "The positive prompt",
    "mask": "The mask of the positive prompt",
    "concat_latent_image": "The image to inpaint of the positive prompt",
    "concat_mask": "The inpainting mask of the positive prompt",
}


@pytest.mark.parametrize("name", SEVEN)
def test_a_per_frame_input_of_another_length(moving, name):
    windowed, seen = record_unet(apply_windows(moving))
    with pytest.raises(LoomError, match=f"^{NAMES[name]} has 7 frames, but the clip has {FRAMES}") as caught:
        sample(windowed, FRAMES, positive=with_seven(name))
    assert ("Prompt Schedule" in str(caught.value)) == (NAMES[name] == "The positive prompt")
    assert not seen.calls


def test_a_per_frame_input_of_another_length_for_windows_of_later_steps(plain):
    """The first windows do not divide the clip, so that the host would take any length."""
    both, seen = record_unet(apply_windows(apply_windows(plain, length=FRAMES), start_percent=0.5))
    with pytest.raises(LoomError, match=f"The mask of the positive prompt has 7 frames, but the clip has {FRAMES}"):
        sample(both, FRAMES, steps=4, positive=with_seven("mask"))
    assert not seen.calls


def test_a_mask_without_a_batch_holds_for_all_frames(moving):
    """The host makes one mask of it, whose first side is no number of frames."""
    ((text, extra),) = prompt(2)
    flat, one = ([[text, extra | {"mask": mask}]] for mask in (torch.ones(64, 64), torch.ones(1, 64, 64)))
    windowed = apply_windows(moving)
    assert torch.equal(sample(windowed, FRAMES, positive=flat), sample(windowed, FRAMES, positive=one))


def test_a_prompt_for_every_frame_follows_its_window(moving):
    texts = torch.cat([prompt(seed)[0][0] for seed in range(FRAMES)])
    windowed, seen = record_options(apply_windows(moving, "uniform", windows_at_once=2))
    sample(windowed, FRAMES, positive=[[texts, {"pooled_output": torch.zeros(1, 1280)}]])
    for evaluation in seen:
        options = evaluation["options"]
        place = options["cond_or_uncond"].index(0)
        shown = evaluation["context"].chunk(len(options["cond_or_uncond"]))[place]
        assert torch.equal(shown, texts[options["ad_params"]["sub_idxs"]])


def test_the_host_is_told_about_a_window(moving):
    asked = []

    def keep(executor, model, noise_shape, *args, **kwargs):
        asked.append(list(noise_shape))
        return executor(model, noise_shape, *args, **kwargs)

    for model, frames in ((apply_windows(moving), LENGTH), (moving, FRAMES), (apply_windows(moving, "view"), FRAMES)):
        clone = model.clone()
        clone.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, "test", keep)
        sample(clone, FRAMES, steps=1)
        assert asked.pop()[0] == frames


def test_a_cancel_is_seen_within_one_window(moving):
    windowed, seen = record_options(apply_windows(moving, windows_at_once=1))
    clone = windowed.clone()

    def cancel(executor, *args, **kwargs):
        result = executor(*args, **kwargs)
        if len(seen) == 2:
            interrupt_current_processing()
        return result

    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "cancel", cancel)
    with pytest.raises(InterruptProcessingException):
        sample(clone, FRAMES)
    assert len(seen) == 2
    assert sample(windowed, FRAMES).isfinite().all()


def test_a_cancel_is_seen_inside_a_call_of_several_windows(moving):
    clone, ended = apply_windows(moving, windows_at_once=4).clone(), []

    def cancel(arguments):
        interrupt_current_processing()
        return arguments

    def keep(executor, *args, **kwargs):
        ended.append(executor(*args, **kwargs))
        return ended[-1]

    clone.set_model_middle_block_after_patch(cancel)
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", keep)
    with pytest.raises(InterruptProcessingException):
        sample(clone, FRAMES)
    assert not ended


def test_the_settings_of_a_clone_are_its_own(moving):
    windowed = apply_windows(moving)
    before = sample(windowed, FRAMES)
    apply_windows(windowed, "batched", start_percent=0.0)
    apply_windows(windowed, "looped", start_percent=0.5)
    assert torch.equal(sample(windowed, FRAMES), before)
    assert "context_handler" not in moving.model_options


def test_a_latent_of_a_video_model(plain):
    video = torch.randn(1, 4, 5, LATENT_SIZE, LATENT_SIZE)
    with pytest.raises(LoomError, match="Use ComfyUI's own Context Windows node"):
        sample(apply_windows(plain), noise=video)


def test_a_guider_without_negative(moving):
    custom = importlib.import_module("comfy_extras.nodes_custom_sampler")
    guider = call(custom.BasicGuider, model=apply_windows(moving), conditioning=prompt(2))
    assert sampler_custom_advanced(guider, FRAMES).isfinite().all()
