"""Context windows on a MODEL, through the host's own extension point for them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from comfy.context_windows import ContextHandlerABC

from ...motion_modules.run_state import CONTEXT_RUN
from ..steps import step_number
from .conds import FrameSlice, slice_conds
from .controls import WindowControls
from .evaluation import WindowEvaluation
from .reference import WindowReference
from .run import ContextRun
from .settings import ContextSettings


@dataclass(frozen=True)
class LoomContextHandler(ContextHandlerABC):
    """Asked by the host in every evaluation of the conds; each of its settings holds from its start percent on."""

    settings: tuple[ContextSettings, ...]

    # What the wrappers of the host's own context node read, where it was put on the model before this handler.
    dim = 0
    freenoise = False

    @property
    def context_length(self) -> int:
        return max(settings.windows.length for settings in self.settings)

    def followed_by(self, settings: ContextSettings) -> "LoomContextHandler":
        """A handler that has these settings too; they replace those with the same start."""
        others = [own for own in self.settings if own.start_percent != settings.start_percent]
        return replace(self, settings=tuple(sorted([*others, settings], key=lambda own: own.start_percent)))

    def attended_frames(self, frames: int) -> int:
        """The largest number of frames that a motion module sees at once in a clip of `frames`."""
        if self.settings[0].start_percent > 0:
            return frames
        return max(settings.attended_frames(frames) for settings in self.settings)

    def started_settings(self, sigma: float, model_sampling) -> list[ContextSettings]:
        """The settings whose start lies behind; the last of them holds."""
        return [own for own in self.settings if sigma <= model_sampling.percent_to_sigma(own.start_percent)]

    def should_use_context(self, model, conds, x_in, timestep, model_options) -> bool:
        started = self.started_settings(float(timestep.max()), model.model_sampling)
        frames = x_in.shape[0]
        return bool(started) and (started[-1].divides_clip(frames) or started[-1].divides_attention(frames))

    def get_resized_cond(self, cond_in, x_in, window: Any, device=None) -> list | None:
        """The host's interface to one window; `execute` does the same with the ControlNets of a run."""
        part = FrameSlice(tuple(window.index_list), x_in.shape[0])
        return slice_conds(cond_in, part, WindowControls(part, {}))

    def execute(self, calc_cond_batch: Callable, model, conds: list, x_in, timestep, model_options) -> list:
        """The prediction for each of `conds` over all frames `[frames, channels, height, width]` of `x_in`."""
        options = model_options["transformer_options"]
        sigma = float(timestep.max())
        settings = self.started_settings(sigma, model.model_sampling)[-1]
        step = step_number(sigma, options["sample_sigmas"])
        run: ContextRun = options.get(CONTEXT_RUN) or ContextRun()
        evaluation = WindowEvaluation(calc_cond_batch, model, conds, x_in, timestep, model_options)
        if settings.divides_attention(x_in.shape[0]):
            return evaluation.in_views(run.views(settings, x_in, step))
        at_once = evaluation.fitting(settings.attended_frames(x_in.shape[0]), settings.windows_at_once)
        reference = WindowReference() if settings.refers_at(sigma, model.model_sampling) else None
        return evaluation.fused(run.windows(settings, x_in, step), at_once, run.hints, reference)
