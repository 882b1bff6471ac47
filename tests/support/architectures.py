"""Tiny motion models and single modules of every architecture, untrained or with random weights, and clips for them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from animatediff_loom.motion_modules.architectures.registry import ARCHITECTURES
from animatediff_loom.motion_modules.contract import MotionInputs, SiteShape
from animatediff_loom.motion_modules.files.untrained import Clip, new_motion_model
from animatediff_loom.motion_modules.motion_model import MotionModel
from torch import nn

from tests.support.clips import SIZE

KEYS = tuple(ARCHITECTURES)
OTHER_PACKS = Path(__file__).with_name("other_packs")
SMALL = Clip(height=8 * SIZE, width=8 * SIZE)
FRAMES, CHANNELS, TIME = 5, 64, 32


def made(model, key: str, **options) -> MotionModel:
    return new_motion_model(model, key, SMALL, **options)


def acting(model, key: str, **options) -> MotionModel:
    """Random weights everywhere, so that every module changes the picture a little."""
    motion_model = made(model, key, **options)
    generator = torch.Generator().manual_seed(1)
    for weight in motion_model.patcher.model.parameters():
        weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return motion_model


def module_of(key: str, positions: int = 8, seed: int = 0) -> nn.Module:
    """One module with random weights, for feature maps of CHANNELS."""
    architecture = ARCHITECTURES[key]
    torch.manual_seed(seed)
    config = architecture.config.for_site(SiteShape(CHANNELS, TIME, positions))
    module = architecture.module(config, dtype=torch.float32).requires_grad_(False).eval()
    for weight in module.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
    return module


def clip(chunks: int = 2, frames: int = FRAMES, height: int = 2, width: int = 3) -> torch.Tensor:
    return torch.randn(chunks * frames, CHANNELS, height, width, generator=torch.Generator().manual_seed(3))


def inputs(frames: int = FRAMES, chunks: int = 2, **settings) -> MotionInputs:
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
