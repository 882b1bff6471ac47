"""Motion models of every architecture, untrained or with random weights, and packs that register their own."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import comfy.sample
import comfy.sd
import torch
from animatediff_loom.motion_modules.architectures.registry import ARCHITECTURES
from animatediff_loom.motion_modules.contract import UNLIMITED, MotionInputs, SiteShape
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.motion_modules.files.untrained import TargetClip, create_motion_model
from animatediff_loom.motion_modules.motion_model import MotionModel
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.motion_modules.unet.sites import unet_sites
from animatediff_loom.nodes.apply_motion_model import ApplyMotionModel
from animatediff_loom.nodes.context_windows import ContextWindows
from animatediff_loom.nodes.new_motion_model import NewMotionModel
from animatediff_loom.sampling.animate import AS_THE_MODEL, animate
from torch import nn

from tests.support.host import tiny_model
from tests.support.motion_files import motion_file
from tests.support.sampling import (
    LATENT_SIZE,
    call,
    sample,
)


def load_motion(positions: int | None = 32, scale: float = 1.0, name: str = "motion", family: str = "auto", **kind):
    """A loaded motion model of random weights; `scale` 0 makes every module the identity."""
    tensors = motion_file(positions=positions, **kind)
    tensors |= {key: tensor * scale for key, tensor in tensors.items() if "proj_out" in key}
    return motion_model_from_tensors(tensors, f"{name}.safetensors", family)


def apply_motion(model, motion_model=None, beta_schedule: str = "as the model", **settings):
    """Return the result of the Apply Motion Model node."""
    return call(
        ApplyMotionModel,
        model=model,
        motion_model=motion_model or load_motion(),
        beta_schedule=beta_schedule,
        **settings,
    )


LENGTH, OVERLAP = 4, 1
DIVIDING = ("static", "uniform", "looped", "batched")


def apply_windows(model, schedule: str = "static", length: int = LENGTH, overlap: int = OVERLAP, **more):
    """Return the result of the node without a reference; inputs of the schedule are passed like all the others."""
    nested = {name: more.pop(name) for name in ("context_stride", "closed_loop") if name in more}
    inputs = {"context_length": length, "context_overlap": overlap, "fuse": "pyramid", "reference_until": 0.0} | more
    return call(ContextWindows, model=model, schedule={"schedule": schedule, **nested}, **inputs)


KEYS = tuple(ARCHITECTURES)
OTHER_PACKS = Path(__file__).with_name("other_packs")
SMALL = TargetClip(height=8 * LATENT_SIZE, width=8 * LATENT_SIZE)
FRAMES, CHANNELS, TIME = 5, 64, 32


def untrained_motion(model, key: str, **options) -> MotionModel:
    return create_motion_model(model, key, SMALL, **options)


def random_motion(model, key: str, **options) -> MotionModel:
    """Random weights everywhere, so that every module changes the picture a little."""
    motion_model = untrained_motion(model, key, **options)
    generator = torch.Generator().manual_seed(1)
    for weight in motion_model.patcher.model.parameters():
        weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return motion_model


def random_module(key: str, positions: int = 8, seed: int = 0) -> nn.Module:
    """Return a module with random weights, for feature maps of CHANNELS."""
    architecture = ARCHITECTURES[key]
    torch.manual_seed(seed)
    config = architecture.config.for_site(SiteShape(CHANNELS, TIME, positions))
    module = architecture.module(config, dtype=torch.float32).requires_grad_(False).eval()
    for weight in module.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
    return module


def feature_maps(chunks: int = 2, frames: int = FRAMES, height: int = 2, width: int = 3) -> torch.Tensor:
    return torch.randn(chunks * frames, CHANNELS, height, width, generator=torch.Generator().manual_seed(3))


def motion_inputs(frames: int = FRAMES, chunks: int = 2, **settings) -> MotionInputs:
    time = torch.randn(chunks, TIME, generator=torch.Generator().manual_seed(4)).repeat_interleave(frames, 0)
    return MotionInputs(frames, time_embedding=time, **settings)


def import_pack(name: str, monkeypatch) -> ModuleType:
    """As the host imports a pack, under its path; forgotten at the end of the test."""
    folder = OTHER_PACKS / name
    spec = importlib.util.spec_from_file_location(str(folder), folder / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, str(folder), module)
    spec.loader.exec_module(module)
    return module


def list_modules(monkeypatch, name: str, *entries: Any) -> None:
    """As if a pack with a list of these entries had been imported by the host, under its path."""
    module = ModuleType(f"/somewhere/custom_nodes/{name}")
    module.LOOM_MOTION_MODULES = list(entries)
    monkeypatch.setitem(sys.modules, module.__name__, module)


SITES = tuple(unet_sites(tiny_model().model.diffusion_model))


def sample_with(model, motion_model) -> torch.Tensor:
    return sample(animate(model, motion_model, MotionSettings(), AS_THE_MODEL), steps=1)


def new_model(model, key: str = "scale_shift", frames: int = 8, sites: str = "*", **options):
    choices = {"architecture": key, "positions": 8, "width": 64, "height": 64} | options
    return NewMotionModel.execute(model, choices, frames, sites)[0]


class Width(NamedTuple):
    """A config that dataclasses.replace does not take."""

    channels: int
    positions: int = UNLIMITED

    @classmethod
    def for_site(cls, site):
        return cls(site.channels)

    @classmethod
    def from_shapes(cls, shapes, training):
        return cls(*shapes["gain"])


class Gain(nn.Module):
    def __init__(self, config, ops=nn, **factory):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(config.channels, **factory))

    def forward(self, x, inputs):
        return inputs.add(x, x * self.gain.to(x)[:, None, None])


def import_gain_pack(monkeypatch, config: type) -> None:
    """Imports a pack whose module `gain` has this config."""
    list_modules(monkeypatch, "gain_pack", {"key": "gain", "module": Gain, "config": config, "attends": False})


def mini_latents(mini, motion_model: MotionModel, text: str, *, frames: int, steps: int, seed: int) -> torch.Tensor:
    """`[frames, 4, 8, 8]` of what LoadLoomMini loads, `mini`; `seed` is that of the noise."""
    model, clip, *_ = mini
    prompts = [clip.encode_from_tokens_scheduled(clip.tokenize(each)) for each in (text, "")]
    noise = torch.randn(frames, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    moving, empty = animate(model, motion_model, MotionSettings()), torch.zeros_like(noise)
    return comfy.sample.sample(moving, noise, steps, 4.0, "euler", "normal", *prompts, empty, disable_pbar=True, seed=1)
