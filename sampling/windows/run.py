"""What one run of a guider makes once for all its steps: fusion weights, and the hints of ControlNets."""

from dataclasses import dataclass, field

import torch

from ...motion_modules.contract import Views
from .schedules import Window
from .settings import ContextSettings, normalise_weights


@dataclass(frozen=True)
class WeightedWindow:
    """Frame numbers in the order in which the model sees them, and `[frames, 1, 1, 1]` of what they count."""

    frames: Window
    numbers: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def on(cls, device: torch.device, frames: Window, weights: list[float]) -> "WeightedWindow":
        numbers = torch.tensor(frames, device=device)
        return cls(frames, numbers, torch.tensor(weights, device=device).view(-1, 1, 1, 1))


@dataclass
class ContextRun:
    """Belongs to one call of the sampler and is forgotten with it."""

    hints: dict = field(default_factory=dict)
    _windows: dict = field(default_factory=dict)

    def windows(self, settings: ContextSettings, x: torch.Tensor, step: int) -> tuple[WeightedWindow, ...]:
        """The windows of a step for the latents `x`, made once however often they come again."""
        frames = x.shape[0]
        windows = settings.plan_windows(frames, step)
        key = (windows, settings.fusion, x.device)
        if key not in self._windows:
            weights = normalise_weights(windows, settings, frames)
            pairs = zip(windows, weights, strict=True)
            self._windows[key] = tuple(WeightedWindow.on(x.device, window, own) for window, own in pairs)
        return self._windows[key]

    def views(self, settings: ContextSettings, x: torch.Tensor, step: int) -> Views:
        """The same as windows of temporal attention."""
        windows = self.windows(settings, x, step)
        return Views(
            tuple(window.numbers for window in windows), tuple(window.weights.view(1, -1, 1) for window in windows)
        )
