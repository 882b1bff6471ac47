"""Tiny motion models of every architecture, untrained and with random weights."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch
from animatediff_loom.motion_modules.fresh import Clip, new_motion_model
from animatediff_loom.motion_modules.motion_model import MotionModel
from animatediff_loom.motion_modules.registry import ARCHITECTURES
from clips import SIZE

KEYS = tuple(ARCHITECTURES)
OTHER_PACKS = Path(__file__).with_name("other_packs")
SMALL = Clip(height=8 * SIZE, width=8 * SIZE)


def made(model, key: str, **options) -> MotionModel:
    return new_motion_model(model, key, SMALL, **options)


def acting(model, key: str, **options) -> MotionModel:
    """Random weights everywhere, so that every module changes the picture a little."""
    motion_model = made(model, key, **options)
    generator = torch.Generator().manual_seed(1)
    for weight in motion_model.patcher.model.parameters():
        weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return motion_model


def import_pack(name: str, monkeypatch) -> ModuleType:
    """As the host imports a pack, under its path; forgotten at the end of the test."""
    folder = OTHER_PACKS / name
    spec = importlib.util.spec_from_file_location(str(folder), folder / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, str(folder), module)
    spec.loader.exec_module(module)
    return module
