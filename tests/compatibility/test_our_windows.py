"""Our Context Windows node with the samplers, guiders, hooks and conditionings of the host.

The measure is the same everywhere: with motion modules that are the identity, frames know nothing
of each other, so that a clip in windows must be the clip of the plain model.
"""

import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

import nodes
from tests.support.host import tiny_model
from tests.support.motion_models import apply_windows
from tests.support.sampling import (
    CFG,
    GUIDERS,
    apply_host_windows,
    call,
    distance,
    host_node,
    ksampler,
    make_lora_hooks,
    noise,
    prompt,
    record_unet,
    run_guider,
    set_hooks,
)

SAMPLERS = ("heun", "dpmpp_sde", "lcm", "dpmpp_2m", "uni_pc", "euler_ancestral", "dpm_2", "res_multistep")
CLIP = 7
CLOSE = 2e-5
LEFT = torch.cat((torch.ones(1, 64, 32), torch.zeros(1, 64, 32)), dim=-1)


@pytest.fixture(scope="module")
def three(model, moving, still):
    """The plain model, and in windows of 4 frames the animated one and the identity."""
    return model, apply_windows(moving), apply_windows(still)


def check(three, make) -> None:
    plain, clip, identity = (make(model) for model in three)
    assert clip.isfinite().all()
    assert distance(identity, plain) < CLOSE
    assert distance(clip, plain) > 1e-3
    assert torch.equal(make(three[1]), clip)


@pytest.mark.parametrize(
    "sampler", ["heun", "dpmpp_sde", "lcm", "dpmpp_2m", "uni_pc", "euler_ancestral", "dpm_2", "res_multistep"]
)
def test_samplers(three, sampler):
    check(three, lambda model: ksampler(model, CLIP, sampler_name=sampler))


@pytest.mark.parametrize("name", GUIDERS)
def test_guiders(three, name):
    check(three, lambda model: run_guider(name, model, CLIP))


def test_hooks(three):
    both = {"positive": set_hooks(make_lora_hooks(), prompt(2)), "negative": set_hooks(make_lora_hooks(), prompt(3))}
    check(three, lambda model: ksampler(model, CLIP, **both))


def test_areas(three):
    left = call(nodes.ConditioningSetArea, conditioning=prompt(4), width=32, height=64, x=0, y=0, strength=1.0)
    check(three, lambda model: ksampler(model, CLIP, positive=prompt(2) + left))


@pytest.mark.parametrize("masks", [1, CLIP])
def test_a_mask_on_the_conditioning(three, masks):
    mask = torch.rand(masks, 64, 64, generator=torch.Generator().manual_seed(0))
    masked = call(nodes.ConditioningSetMask, conditioning=prompt(4), mask=mask, set_cond_area="default", strength=1.0)
    check(three, lambda model: ksampler(model, CLIP, positive=prompt(2) + masked))


@pytest.mark.parametrize("masks", [1, CLIP])
def test_inpainting(three, masks):
    latent = {"samples": noise(CLIP, seed=9), "noise_mask": LEFT.repeat(masks, 1, 1)}
    check(three, lambda model: ksampler(model, CLIP, latent_image=latent))


def test_the_latents_beside_those_of_an_inpainting_model():
    model = tiny_model(in_channels=9)
    beside = {"concat_latent_image": noise(CLIP, seed=9), "concat_mask": LEFT.repeat(CLIP, 1, 1).unsqueeze(1)}
    turned = {name: tensor.flip(0) for name, tensor in beside.items()}
    both, other = ({"positive": prompt(2, **each), "negative": prompt(3, **each)} for each in (beside, turned))
    plain = ksampler(model, CLIP, **both)
    assert distance(ksampler(apply_windows(model), CLIP, **both), plain) < CLOSE
    assert distance(ksampler(apply_windows(model), CLIP, **other), plain) > 1e-3


def test_image_to_image(three):
    check(
        three, lambda model: ksampler(model, CLIP, latent_image={"samples": noise(CLIP, seed=9)}, denoise=0.5, steps=4)
    )


def test_ranges_of_time(three):
    def between(start, end, text):
        return call(nodes.ConditioningSetTimestepRange, conditioning=text, start=start, end=end)

    both = between(0.0, 0.5, prompt(2)) + between(0.5, 1.0, prompt(4))
    check(three, lambda model: ksampler(model, CLIP, positive=both, steps=4))


def test_the_lcm_schedule(three):
    check(
        three, lambda model: ksampler(ModelSamplingDiscrete().patch(model, "lcm", False)[0], CLIP, sampler_name="lcm")
    )


@pytest.mark.parametrize("node", ["nodes_easycache.EasyCacheNode", "nodes_easycache.LazyCacheNode"])
def test_caching_nodes_keep_windows_apart(three, node):
    cache = {"start_percent": 0.0, "end_percent": 1.0, "verbose": False}
    never = {**cache, "reuse_threshold": 0.0}
    check(three, lambda model: ksampler(call(host_node(node), model=model, **never), CLIP, steps=4))
    often = {**cache, "reuse_threshold": 10.0}
    clip = ksampler(call(host_node(node), model=three[1], **often), CLIP, steps=6)
    assert clip.isfinite().all()


def test_the_hosts_node_before_ours_is_replaced(moving):
    assert torch.equal(ksampler(apply_windows(apply_host_windows(moving)), CLIP), ksampler(apply_windows(moving), CLIP))


def test_cfg_is_the_same_in_windows(three):
    low, high = (ksampler(three[1], CLIP, cfg=cfg) for cfg in (1.0, CFG))
    assert low.isfinite().all()
    assert distance(low, high) > 1e-3


def guide_by_attention(model):
    return call(host_node("nodes_sag.SelfAttentionGuidance"), model=model, scale=0.5, blur_sigma=2.0)


@pytest.mark.parametrize("divide", [apply_windows, apply_host_windows])
def test_self_attention_guidance_is_refused_in_windows(moving, divide):
    model, seen = record_unet(guide_by_attention(divide(moving)))
    with pytest.raises(LoomError, match="Self-Attention Guidance needs the attention of the whole clip"):
        ksampler(model, CLIP)
    assert not seen.calls


@pytest.mark.parametrize("schedule", ["static", "view"])
def test_self_attention_guidance_of_a_whole_clip(moving, schedule):
    length = 4 if schedule == "view" else CLIP
    model = apply_windows(moving, schedule, length=length)
    latent = {"samples": torch.zeros(CLIP, 4, 16, 16)}
    plain, guided = (ksampler(each, latent_image=latent) for each in (model, guide_by_attention(model)))
    assert distance(guided, plain) > 1e-4
