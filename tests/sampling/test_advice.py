"""Advice before a run: what will look bad, told once, and never a reason to stop."""

import dataclasses
from typing import Any

import pytest
import torch
from animatediff_loom.motion_modules.beta_schedules import BETA_SCHEDULES
from animatediff_loom.motion_modules.families import FAMILIES
from animatediff_loom.motion_modules.motion_model import AppliedLora
from animatediff_loom.motion_modules.unet.applied import AppliedMotion, applied_motion
from animatediff_loom.sampling.advice import SamplingFacts, list_advice

from tests.support.host import tiny_model
from tests.support.motion_models import apply_motion, apply_windows, load_motion
from tests.support.sampling import ksampler

FAMILY = {family.name: family for family in FAMILIES}
SIGMAS = {name: schedule.sigmas() for name, schedule in BETA_SCHEDULES.items()}


class Sampling:
    """As much of the host's `model_sampling` as advice looks at."""

    def __init__(self, schedule: str):
        self.sigma_max = SIGMAS[schedule][-1]


@pytest.fixture(scope="module")
def motion() -> AppliedMotion:
    (applied,) = applied_motion(apply_motion(tiny_model(), load_motion()).model_options)
    return applied


def as_trained(family: str, **changes: Any) -> SamplingFacts:
    """Facts of a run with the settings of the training, but for `changes`."""
    frames = changes.pop("frames", FAMILY[family].trained_frames)
    steps = changes.pop("steps", {"AnimateDiff-Lightning": 4, "AnimateLCM": 6, "AnimateLCM-I2V": 4}.get(family, 25))
    settings = {
        "latent": torch.zeros(frames, 4, 2, 2),
        "sigmas": torch.linspace(14, 0, steps + 1),
        "model_sampling": Sampling(FAMILY[family].beta_schedule),
        "attended": frames,
        "loras": family.startswith("AnimateLCM"),
        "cfg": {"AnimateDiff-Lightning": 1.0, "AnimateLCM": 1.5, "AnimateLCM-I2V": 1.0}.get(family, 7.5),
        "sampler": "lcm" if family.startswith("AnimateLCM") else "euler",
        "scheduler": "sgm_uniform",
        "denoise": 1.0,
    }
    return SamplingFacts(**settings | changes)


@pytest.mark.parametrize("family", FAMILY)
def test_settings_of_the_training_need_no_advice(motion, family):
    assert list_advice(dataclasses.replace(motion, family=FAMILY[family]), as_trained(family)) == []


V3, LIGHTNING, LCM = "AnimateDiff v3", "AnimateDiff-Lightning", "AnimateLCM"
BAD = {
    "long clip": (V3, {"frames": 32}, "sees 32 frames at once, but training had 16"),
    "long window": (V3, {"frames": 64, "attended": 24, "windowed": True}, "windows have 24 frames"),
    "short clip": (V3, {"frames": 6}, "sees only 6 frames"),
    "schedule": (V3, {"model_sampling": Sampling("Stable Diffusion (scaled_linear)")}, "grey or washed out"),
    "strong guidance": (LIGHTNING, {"cfg": 7.5}, "`cfg` 7.5 gives burnt colours"),
    "weak guidance": (V3, {"cfg": 1.0}, "`cfg` 1 gives weak prompts"),
    "steps of another": (V3, {"steps": 4}, "4 steps are few"),
    "Lightning as v2": ("AnimateDiff v2", {"cfg": 1.0, "steps": 4}, "settings of AnimateDiff-Lightning"),
    "too many steps": (LCM, {"steps": 25}, "25 steps are many"),
    "sampler": (LCM, {"sampler": "euler"}, "distilled for sampler lcm, not euler"),
    "scheduler": (LIGHTNING, {"scheduler": "karras"}, "distilled for scheduler sgm_uniform, not karras"),
    "no LoRA": (LCM, {"loras": False}, "needs its LoRA on the checkpoint"),
    "adapter": ("AnimateDiff v2", {"lora_file": "v3_sd15_adapter.safetensors"}, "is the adapter of AnimateDiff v3"),
    "VAE": (V3, {"vae": "sdxl_vae.safetensors"}, "looks like a VAE of SDXL"),
    "other VAE": ("Hotshot-XL", {"vae": "vae-ft-mse-840000-ema-pruned.ckpt"}, "looks like a VAE of SD1.5"),
    "repeated picture": (V3, {"latent": torch.ones(16, 4, 2, 2), "denoise": 0.4}, "hardly moves with `denoise` 0.4"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_looks_bad_is_told(motion, kind):
    family, changes, words = BAD[kind]
    (line,) = list_advice(dataclasses.replace(motion, family=FAMILY[family]), as_trained(family, **changes))
    assert words in line


def test_a_lora_of_another_family_is_told(motion):
    lora = AppliedLora("v2_lora_ZoomIn.ckpt", 1.0, 160, 168)
    (line,) = list_advice(dataclasses.replace(motion, family=FAMILY[V3], loras=(lora,)), as_trained(V3))
    assert "only 160 of 168 layers of motion LoRA 'v2_lora_ZoomIn.ckpt'" in line


def test_longer_windows_with_other_positions_need_no_advice(motion):
    stretched = {"positions": {"positions": "stretch", "stretched_frames": 32}}
    (applied,) = applied_motion(apply_motion(tiny_model(), load_motion(), **stretched).model_options)
    assert list_advice(dataclasses.replace(applied, family=FAMILY[V3]), as_trained(V3, frames=32)) == []


def test_advice_is_logged_once_per_change(caplog):
    model = apply_motion(tiny_model(), load_motion(), beta_schedule="auto")
    with caplog.at_level("WARNING"):
        for cfg in (7.5, 7.5, 1.0, 1.0):
            ksampler(apply_windows(model, length=4), 4, steps=12, cfg=cfg)
    lines = [record.message for record in caplog.records if "Advice" in record.message]
    assert len(lines) == 2
    assert "sees only 4 frames" in lines[0] and "`cfg` 1" in lines[1] and "`cfg`" not in lines[0]
