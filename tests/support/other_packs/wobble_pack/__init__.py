"""A custom-node pack of somebody else, with a motion module of its own: nothing of AnimateDiff Loom is imported."""

import logging
import sys
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class WobbleConfig:
    channels: int
    positions: int = 64

    @classmethod
    def for_site(cls, site):
        return cls(site.channels)

    @classmethod
    def from_shapes(cls, shapes, training):
        (channels,) = shapes["gain"]
        return cls(channels)


class Wobble(nn.Module):
    """x_f + gain * sin(f) x_f, for frame number f and a learned gain of each channel."""

    def __init__(self, config, ops=nn, **factory):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(config.channels, **factory))

    def forward(self, x, inputs):
        frame = torch.arange(len(x), device=x.device) % inputs.frames
        wobble = frame.sin().to(x)[:, None] * self.gain.to(x)
        return inputs.add(x, x * wobble[:, :, None, None])


LOOM_MOTION_MODULES = [{"key": "wobble", "module": Wobble, "config": WobbleConfig, "attends": False}]
NODE_CLASS_MAPPINGS = {}

second = any(name.endswith("animatediff_loom") for name in sys.modules)
logging.info(f"wobble_pack is imported {'after' if second else 'before'} AnimateDiff Loom")
