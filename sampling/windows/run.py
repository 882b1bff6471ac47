"""State that the steps of a run share: windows and tiles with their fusion weights, and encoded ControlNet hints.

`sample_in_windows` begins a run; `WindowEvaluation` takes windows from it, and `WindowControls`
fills in hints.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

import torch
from einops import rearrange

from ...motion_modules.contract import Views
from .schedules import Window
from .settings import ContextSettings, normalise_weights
from .tiles import WeightedTile, weigh_tiles


@dataclass(frozen=True)
class WeightedWindow:
    """Frames in the order in which the model sees them, as numbers and as `indices`; `weights` `[frames, 1, 1, 1]`."""

    frames: Window
    indices: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True)
class EncodedHint:
    """The hint of a ControlNet, encoded for all frames, and the features of an adapter by its outputs and levels."""

    hint: torch.Tensor
    features: dict[str, list[torch.Tensor | None]] | None


@dataclass
class ContextRun:
    """State of a single call of a sampler; discarded when the call ends.

    `same_source` and `same_prompts` say whether the frames of the clip start from one latent and
    have one prompt, mask and control image, so that they should look the same.
    """

    same_source: bool = True
    same_prompts: bool = True
    encoded_hints: dict[Hashable, EncodedHint] = field(default_factory=dict)
    _windows: dict[Hashable, tuple[WeightedWindow, ...]] = field(default_factory=dict)
    _tiles: dict[Hashable, tuple[WeightedTile, ...]] = field(default_factory=dict)

    def weigh_tiles(self, settings: ContextSettings, x: torch.Tensor) -> tuple[WeightedTile, ...]:
        """Return the tiles of latents `x`, created once for all steps."""
        height, width = x.shape[-2:]
        key = (settings, height, width, x.device)
        if key not in self._tiles:
            assert settings.tiles is not None, "only a picture in tiles is divided"
            tiles = weigh_tiles(settings.tiles, settings.fusion, height, width)
            self._tiles[key] = tuple(WeightedTile(each.tile, each.weights.to(x.device)) for each in tiles)
        return self._tiles[key]

    def weigh_windows(self, settings: ContextSettings, x: torch.Tensor, step: int) -> tuple[WeightedWindow, ...]:
        """Return the windows of a step for latents `x`, created once for all steps that have the same."""
        frames = x.shape[0]
        windows = settings.plan_windows(frames, step)
        key = (settings, windows, x.device)
        if key not in self._windows:
            weights = normalise_weights(windows, settings, frames)
            pairs = zip(windows, weights, strict=True)
            self._windows[key] = tuple(_weigh(*pair, x.device) for pair in pairs)
        return self._windows[key]

    def weigh_views(self, settings: ContextSettings, x: torch.Tensor, step: int) -> Views:
        """Return the same windows for temporal attention."""
        windows = self.weigh_windows(settings, x, step)
        weights = (rearrange(window.weights, "frame 1 1 1 -> 1 frame 1") for window in windows)
        return Views(tuple(window.indices for window in windows), tuple(weights))


def _weigh(frames: Window, weights: list[float], device: torch.device) -> WeightedWindow:
    per_frame = rearrange(torch.tensor(weights, device=device), "frame -> frame 1 1 1")
    return WeightedWindow(frames, torch.tensor(frames, device=device), per_frame)
