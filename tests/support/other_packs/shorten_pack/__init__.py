"""A custom-node pack of somebody else, whose motion module breaks a rule: it drops a frame."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class ShortenConfig:
    channels: int
    positions: int = 64

    @classmethod
    def for_site(cls, site):
        return cls(site.channels)

    @classmethod
    def from_shapes(cls, shapes, training):
        (channels,) = shapes["gain"]
        return cls(channels)


class Shorten(nn.Module):
    def __init__(self, config, ops=nn, **factory):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(config.channels, **factory))

    def forward(self, x, inputs):
        return x[1:]


LOOM_MOTION_MODULES = [{"key": "shorten", "module": Shorten, "config": ShortenConfig, "attends": False}]
NODE_CLASS_MAPPINGS = {}
