"""Motion models that nodes make, what they do to a clip, and a pack with a motion module of its own."""

from typing import NamedTuple

import torch
from animatediff_loom.motion_modules.contract import UNLIMITED
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.motion_modules.unet.sites import unet_sites
from animatediff_loom.nodes.new_motion_model import NewMotionModel
from animatediff_loom.sampling.animate import AS_THE_MODEL, animate
from torch import nn

from tests.support.architectures import list_modules
from tests.support.clips import sample
from tests.support.host_models import tiny_model

SITES = tuple(unet_sites(tiny_model().model.diffusion_model))


def film(model, motion_model) -> torch.Tensor:
    return sample(animate(model, motion_model, MotionSettings(), AS_THE_MODEL), steps=1)


def new(model, key: str = "scale_shift", frames: int = 8, sites: str = "*", **options):
    given = {"architecture": key, "positions": 8, "width": 64, "height": 64} | options
    return NewMotionModel.execute(model, given, frames, sites)[0]


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
