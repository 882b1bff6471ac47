"""Image to image, masks, areas, ranges of time and prompts of different lengths, with an animated model."""

import pytest
import torch
from torch.testing import assert_close

import nodes
from tests.support.motion_models import apply_motion
from tests.support.sampling import FRAMES, STEPS, call, distance, host_node, ksampler, noise, prompt, record_unet

LEFT = torch.cat((torch.ones(1, 64, 32), torch.zeros(1, 64, 32)), dim=-1)


def clips_of(model, moving, still, **inputs) -> torch.Tensor:
    """The animated clip, after the checks that hold for every way of conditioning."""
    plain, clip = ksampler(model, **inputs), ksampler(moving, **inputs)
    assert clip.isfinite().all()
    assert torch.equal(ksampler(still, **inputs), plain)
    assert not torch.allclose(clip, plain, atol=1e-4)
    return clip


@pytest.mark.parametrize("denoise", [0.6, 0.2])
def test_image_to_image(model, moving, still, denoise):
    source = noise(FRAMES, seed=9)
    clip = clips_of(model, moving, still, latent_image={"samples": source}, denoise=denoise, steps=3)
    whole = ksampler(moving, latent_image={"samples": source}, steps=3)
    assert (clip - source).norm() < (whole - source).norm()


@pytest.mark.parametrize("masks", [1, FRAMES])
def test_inpainting_keeps_what_the_mask_keeps(model, moving, still, masks):
    latent = {"samples": noise(FRAMES, seed=9), "noise_mask": LEFT.repeat(masks, 1, 1)}
    clip = clips_of(model, moving, still, latent_image=latent)
    assert_close(clip[..., 4:], latent["samples"][..., 4:], atol=1e-5, rtol=0)
    assert not torch.allclose(clip[..., :4], latent["samples"][..., :4], atol=1e-1)


def test_differential_diffusion(model, moving, still):
    latent = {"samples": noise(FRAMES, seed=9), "noise_mask": LEFT * 0.5}
    node = host_node("nodes_differential_diffusion.DifferentialDiffusion")
    clips_of(*(call(node, model=m) for m in (model, moving, still)), latent_image=latent, steps=3)


def test_areas(model, moving, still):
    """Each area is a smaller picture, with all its frames."""
    left = call(nodes.ConditioningSetArea, conditioning=prompt(4), width=32, height=64, x=0, y=0, strength=1.0)
    watched_model, seen = record_unet(moving)
    both = {"positive": prompt(2) + left}
    clip = clips_of(model, watched_model, still, **both)
    assert {tuple(call["x"].shape[2:]) for call in seen.calls} == {(8, 8), (8, 4)}
    assert not torch.allclose(clip[..., :4], ksampler(moving)[..., :4], atol=1e-3)


@pytest.mark.parametrize("set_cond_area", ["default", "mask bounds"])
def test_masked_conditioning(model, moving, still, set_cond_area):
    def masked(mask, text):
        return call(nodes.ConditioningSetMask, conditioning=text, mask=mask, set_cond_area=set_cond_area, strength=1.0)

    both = masked(LEFT, prompt(4)) + masked(1 - LEFT, prompt(2))
    clip = clips_of(model, moving, still, positive=both)
    assert not torch.allclose(clip, ksampler(moving), atol=1e-3)


def test_a_mask_per_frame(model, moving, still):
    masks = torch.stack([torch.full((64, 64), i / FRAMES) for i in range(1, FRAMES + 1)])
    masked = call(nodes.ConditioningSetMask, conditioning=prompt(4), mask=masks, set_cond_area="default", strength=1.0)
    clips_of(model, moving, still, positive=prompt(2) + masked)


def test_ranges_of_time(model, moving, still):
    def between(start, end, text):
        return call(nodes.ConditioningSetTimestepRange, conditioning=text, start=start, end=end)

    both = between(0.0, 0.5, prompt(2)) + between(0.5, 1.0, prompt(4))
    clip = clips_of(model, moving, still, positive=both, steps=4)
    assert not torch.allclose(clip, ksampler(moving, steps=4), atol=1e-3)


@pytest.mark.parametrize(("tokens", "chunks"), [(14, [[1, 0]]), (8, [[0], [1]])])
def test_prompts_of_different_lengths(model, moving, still, tokens, chunks):
    """The host evaluates prompts of 7 and 14 tokens at once, repeating the shorter; those of 7 and 8 separately."""
    long, seen = record_unet(moving)
    clips_of(model, long, still, positive=prompt(2, tokens=tokens), steps=1)
    assert sorted(call["chunks"] for call in seen.calls) == sorted(chunks)


def test_a_prompt_per_frame(model, moving, still):
    text = torch.cat([prompt(seed)[0][0] for seed in range(FRAMES)])
    per_frame = [[text, {"pooled_output": torch.zeros(1, 1280)}]]
    clip = clips_of(model, moving, still, positive=per_frame)
    assert not torch.allclose(clip, ksampler(moving, positive=[[text[:1], per_frame[0][1]]]), atol=1e-3)


def test_cond_and_uncond_apart_make_what_they_make_together(model):
    """The host evaluates them separately when it believes that memory is short."""
    batched, seen = record_unet(apply_motion(model))
    clip = ksampler(batched)
    assert [call["chunks"] for call in seen.calls] == [[1, 0]] * STEPS
    factor, model.model.memory_usage_factor = model.model.memory_usage_factor, 1e18
    try:
        separate = ksampler(batched)
    finally:
        model.model.memory_usage_factor = factor
    assert sorted(call["chunks"] for call in seen.calls[STEPS:]) == [[0]] * STEPS + [[1]] * STEPS
    assert distance(separate, clip) < 1e-4
