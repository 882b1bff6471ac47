"""Whole sampling runs of the host against diffusers' schedulers and pipeline, from the same latents."""

import pytest
import torch
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.sampling.animate import animate
from comfy.cli_args import args
from diffusers import AnimateDiffPipeline, DDIMScheduler, EulerDiscreteScheduler, LCMScheduler

from tests.support.host import tiny_model
from tests.support.motion_files import EXPECTED, LCM, V1, V2, V3, Expected
from tests.support.reference_unet import SDXL_TIME_IDS, reference_unet
from tests.support.sampling import noise, prompt, sample

FRAMES, CFG, SEED = 3, 5.0, 11
LATENT_SCALE = {"SD1.5": 0.18215, "SDXL": 0.13025}
TOLERANCE, TOLERANCE_FROM_DOUBLES = 2e-5, 5e-6  # design.md's 1e-5 for one evaluation, added up over the steps
others = [expected for expected in EXPECTED if expected is not LCM]


def name_of(expected: Expected) -> str:
    return expected.name


def scheduler_of(kind, expected: Expected, **settings):
    return kind(beta_start=0.00085, beta_end=expected.last_beta, beta_schedule=expected.betas, **settings)


def both(expected: Expected, dtype: torch.dtype = torch.float32):
    """Our animated MODEL and the reference UNet, of the same weights."""
    plain, motion = tiny_model(expected.base, dtype), expected.file()
    motion_model = motion_model_from_tensors(motion, "tiny.safetensors", expected.choice)
    return animate(plain, motion_model, MotionSettings()), reference_unet(plain, expected, motion, FRAMES)


def predict(unet, expected: Expected, latents: torch.Tensor, timestep, cfg: float) -> torch.Tensor:
    """The guided prediction for `[frames, 4, h, w]`."""
    (positive, positive_extra), (negative, negative_extra) = prompt(2)[0], prompt(3)[0]
    added = None
    if expected.base == "SDXL":
        pooled = torch.cat((positive_extra["pooled_output"], negative_extra["pooled_output"]))
        added = {"text_embeds": pooled, "time_ids": torch.tensor([SDXL_TIME_IDS] * 2)}
    text = torch.cat((positive, negative)).repeat_interleave(len(latents), 0).to(unet.dtype)
    clips = latents.transpose(0, 1)[None].expand(2, -1, -1, -1, -1)
    with_prompt, without = unet(clips.to(unet.dtype), timestep, text, added_cond_kwargs=added).sample.transpose(1, 2)
    return without + cfg * (with_prompt - without)


def denoise(unet, expected: Expected, scheduler, latents: torch.Tensor, cfg: float = CFG, **step) -> torch.Tensor:
    for timestep in scheduler.timesteps:
        model_input = scheduler.scale_model_input(latents, timestep)
        prediction = predict(unet, expected, model_input, timestep, cfg)
        latents = scheduler.step(prediction, timestep, latents, **step).prev_sample
    return latents


def sigmas_at(model, timesteps: torch.Tensor) -> torch.Tensor:
    sigmas = model.get_model_object("model_sampling").sigma(timesteps)
    return torch.cat((sigmas, torch.zeros(1)))


def assert_same(ours: torch.Tensor, theirs: torch.Tensor, expected: Expected, tolerance: float = TOLERANCE) -> None:
    """In units of the latents' own scale: untrained weights send them far from that of a picture."""
    assert theirs.std() > 0.1
    assert (ours * LATENT_SCALE[expected.base] - theirs).abs().max() <= tolerance * theirs.std()


@pytest.mark.parametrize("expected", others, ids=name_of)
def test_euler_on_the_hosts_own_schedule(expected):
    """Four steps, since only then the host's `normal` and diffusers' `linspace` meet at whole timesteps."""
    ours, theirs = euler(expected)
    assert_same(ours, theirs, expected)


def test_euler_in_float64(monkeypatch):
    """UNet and motion modules in doubles; the latents between them are in single precision in the host."""
    monkeypatch.setattr(args, "fp64_unet", True)
    ours, theirs = euler(V3, torch.float64)
    assert_same(ours, theirs, V3, TOLERANCE_FROM_DOUBLES)


def euler(expected: Expected, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of our MODEL and of the reference."""
    model, unet = both(expected, dtype)
    scheduler = scheduler_of(EulerDiscreteScheduler, expected, timestep_spacing="linspace")
    scheduler.set_timesteps(4)
    start = noise(FRAMES) * (scheduler.sigmas[0] ** 2 + 1).sqrt()
    return sample(model, FRAMES, steps=4, cfg=CFG), denoise(unet, expected, scheduler, start)


@pytest.mark.parametrize("expected", (V1, V3), ids=name_of)
def test_three_steps_of_ddim(expected):
    model, unet = both(expected)
    scheduler = scheduler_of(DDIMScheduler, expected, clip_sample=False)
    scheduler.set_timesteps(3)
    theirs = denoise(unet, expected, scheduler, noise(FRAMES), eta=0.0)
    ours = _host_ddim(model, scheduler.timesteps)
    assert_same(ours, theirs, expected)


@pytest.mark.parametrize("expected", (V2, V3), ids=name_of)
def test_three_steps_of_the_pipeline(expected):
    model, unet = both(expected)
    scheduler = scheduler_of(DDIMScheduler, expected, clip_sample=False)
    pipeline = AnimateDiffPipeline(None, None, None, unet, None, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    (positive, _), (negative, _) = prompt(2)[0], prompt(3)[0]
    theirs = pipeline(
        prompt_embeds=positive,
        negative_prompt_embeds=negative,
        latents=noise(FRAMES).transpose(0, 1)[None],
        num_frames=FRAMES,
        height=64,
        width=64,
        num_inference_steps=3,
        guidance_scale=CFG,
        output_type="latent",
    ).frames
    assert_same(_host_ddim(model, scheduler.timesteps), theirs[0].transpose(0, 1), expected)


def test_three_steps_of_latent_consistency():
    model, unet = both(LCM)
    scheduler = scheduler_of(LCMScheduler, LCM)
    scheduler.set_timesteps(3, original_inference_steps=100)
    host_noise = torch.Generator().manual_seed(SEED + 1)  # the host's sampler adds one to the seed on a CPU
    theirs = denoise(unet, LCM, scheduler, noise(FRAMES), cfg=1.5, generator=host_noise)
    ours = sample(model, FRAMES, cfg=1.5, sampler="lcm", sigmas=sigmas_at(model, scheduler.timesteps), seed=SEED)
    assert_same(ours, theirs, LCM)


def _host_ddim(model, timesteps: torch.Tensor) -> torch.Tensor:
    """The host starts from noise * sigma where diffusers starts from latents of unit variance."""
    sigmas = sigmas_at(model, timesteps)
    start = noise(FRAMES) * (1 + sigmas[0] ** -2).sqrt()
    return sample(model, FRAMES, cfg=CFG, sampler="ddim", sigmas=sigmas, noise=start)
