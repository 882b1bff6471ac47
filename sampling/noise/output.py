"""The noise of a clip as a NOISE of the host, for custom samplers and nodes that take one."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from ...motion_modules.errors import LoomError
from .initial import ArrangedSeed, NoiseSettings, check_clip, make_noise


@dataclass(frozen=True)
class VideoNoiseSource:
    """A NOISE that makes the noise of another NOISE, `source`, one of the kind of `settings`."""

    source: Any
    settings: NoiseSettings

    @property
    def seed(self) -> int:
        return ArrangedSeed(self._require_source().seed)

    def generate_noise(self, input_latent: dict) -> torch.Tensor:
        noise = self._require_source().generate_noise(input_latent)
        check_clip(self.settings, tuple(noise.shape))
        numbers = tuple(input_latent.get("batch_index") or ())
        return make_noise(noise, replace(self.settings, numbers=numbers), self.seed)

    def _require_source(self) -> Any:
        if self.source is None:
            raise LoomError(
                "The `noise` output of Video Noise has no seed, because its `noise` input is not connected. Connect "
                "RandomNoise to it, or give the sampler RandomNoise and this node's `model`."
            )
        return self.source
