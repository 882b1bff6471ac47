"""An animated tiny model, and the host's own nodes called as its executor calls them."""

import importlib

import comfy.sd
import pytest
import torch
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.nodes.apply_motion_model import ApplyMotionModel
from comfy_api.latest import io

import nodes
from tests.support.clips import noise, prompt
from tests.support.motion_files import motion_file, random_weight

FRAMES, STEPS, CFG, SEED = 4, 2, 5.0, 1
LORA_KEYS = (
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
    "lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_attn2_to_out_0",
)


def motion(positions: int | None = 32, scale: float = 1.0, name: str = "motion", family: str = "auto", **kind):
    """A loaded motion model of random weights; `scale` 0 makes every module the identity."""
    tensors = motion_file(positions=positions, **kind)
    tensors |= {key: tensor * scale for key, tensor in tensors.items() if "proj_out" in key}
    return motion_model_from_tensors(tensors, f"{name}.safetensors", family)


def animated(model, motion_model=None, beta_schedule: str = "as the model", **settings):
    """What the Apply Motion Model node returns."""
    return call(
        ApplyMotionModel, model=model, motion_model=motion_model or motion(), beta_schedule=beta_schedule, **settings
    )


def call(node, **inputs):
    """The first output of a host node, of either API."""
    target = node if issubclass(node, io.ComfyNode) else node()
    result = getattr(target, node.FUNCTION)(**inputs)
    return (result.result if isinstance(result, io.NodeOutput) else result)[0]


def host_node(path: str):
    """A node class as `module.Class` in `comfy_extras`; the test is skipped where the host has none."""
    module, name = path.split(".")
    try:
        return getattr(importlib.import_module(f"comfy_extras.{module}"), name)
    except (ImportError, AttributeError):
        pytest.skip(f"this host has no {path}")


def ksampler(model, frames: int = FRAMES, **inputs) -> torch.Tensor:
    """The latents that the KSampler node makes."""
    inputs = _with_defaults(inputs, frames) | {"seed": SEED, "denoise": inputs.get("denoise", 1.0)}
    return call(nodes.KSampler, model=model, **inputs)["samples"]


def ksampler_advanced(model, frames: int = FRAMES, **inputs) -> dict:
    """The LATENT that the KSampler Advanced node makes."""
    switches = {
        "add_noise": "enable",
        "return_with_leftover_noise": "disable",
        "start_at_step": 0,
        "end_at_step": 10000,
    }
    return call(nodes.KSamplerAdvanced, model=model, noise_seed=SEED, **(_with_defaults(switches | inputs, frames)))


def sampler_custom_advanced(guider, frames: int = FRAMES, steps: int = STEPS, sampler: str = "euler") -> torch.Tensor:
    """The latents that SamplerCustomAdvanced makes with `guider`."""
    custom = importlib.import_module("comfy_extras.nodes_custom_sampler")
    inputs = {
        "noise": call(custom.RandomNoise, noise_seed=SEED),
        "guider": guider,
        "sampler": call(custom.KSamplerSelect, sampler_name=sampler),
        "sigmas": call(custom.BasicScheduler, model=guider.model_patcher, scheduler="normal", steps=steps, denoise=1.0),
        "latent_image": {"samples": torch.zeros_like(noise(frames))},
    }
    return call(custom.SamplerCustomAdvanced, **inputs)["samples"]


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """How far two clips are apart, in parts of their size."""
    return float((ours - theirs).norm() / theirs.norm())


def lora(seed: int = 0, width: int = 32, rank: int = 4) -> dict[str, torch.Tensor]:
    """A LoRA file for two layers of the tiny UNet."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"lora_up.weight": (width, rank), "lora_down.weight": (rank, width)}
    return {
        f"{key}.{name}": random_weight(name, shape, generator) for key in LORA_KEYS for name, shape in shapes.items()
    }


def with_lora(model, strength: float = 1.0):
    """A clone of `model` as the host's LoRA loader makes it."""
    return comfy.sd.load_lora_for_models(model, None, lora(), strength, 0.0)[0]


def _with_defaults(inputs: dict, frames: int) -> dict:
    defaults = {
        "steps": STEPS,
        "cfg": CFG,
        "sampler_name": "euler",
        "scheduler": "normal",
        "positive": prompt(2),
        "negative": prompt(3),
        "latent_image": {"samples": torch.zeros_like(noise(frames))},
    }
    return defaults | inputs
