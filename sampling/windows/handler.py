"""The context handler on a MODEL, which the host calls in each evaluation instead of evaluating the whole clip."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from comfy.context_windows import ContextHandlerABC

from ...motion_modules.run_state import CONTEXT_RUN
from .conds import FrameSlice, slice_conds
from .controls import WindowControls
from .evaluation import WindowEvaluation
from .reference import WindowReference
from .run import ContextRun
from .settings import ContextSettings
from .tiled_evaluation import predict_in_tiles


@dataclass(frozen=True)
class LoomContextHandler(ContextHandlerABC):
    """Context windows of a MODEL; each of its settings applies from its start until that of the next."""

    settings: tuple[ContextSettings, ...]

    # Read by the wrappers of the host's own context node, when that node comes before this handler.
    dim = 0
    freenoise = False

    @property
    def context_length(self) -> int:
        return max(settings.layout.length for settings in self.settings)

    def add(self, settings: ContextSettings) -> "LoomContextHandler":
        """Return a handler with `settings` added; they replace those with the same start."""
        others = [other for other in self.settings if other.start_percent != settings.start_percent]
        return replace(self, settings=tuple(sorted([*others, settings], key=lambda each: each.start_percent)))

    def attended_frames(self, frames: int) -> int:
        """Return the largest number of frames that a motion module sees at once in a clip of `frames`."""
        if self.settings[0].start_percent > 0:
            return frames
        return max(settings.attended_frames(frames) for settings in self.settings)

    def fit_tile(self, height: int, width: int) -> tuple[int, int]:
        """Return the largest height and width that the model sees at once of a latent of this size."""
        if self.settings[0].start_percent > 0:
            return height, width
        heights, widths = zip(*(settings.fit_tile(height, width) for settings in self.settings), strict=True)
        return max(heights), max(widths)

    def active_settings(self, sigma: float, model_sampling) -> ContextSettings | None:
        """Return the settings that apply at `sigma`: the last ones that have started."""
        started = [settings for settings in self.settings if settings.has_started(sigma, model_sampling)]
        return started[-1] if started else None

    def should_use_context(self, model, conds, x_in, timestep, model_options) -> bool:
        settings = self.active_settings(float(timestep.max()), model.model_sampling)
        if settings is None:
            return False
        return settings.divides(x_in.shape[0]) or settings.divides_picture(*x_in.shape[-2:])

    def get_resized_cond(self, cond_in, x_in, window: Any, device=None) -> list | None:
        """Cut conds to one window: the host's interface, for other packs.

        `execute` does not call it.
        """
        part = FrameSlice(tuple(window.index_list), x_in.shape[0])
        return slice_conds(cond_in, part, WindowControls(part, ContextRun()).find)

    def execute(self, calc_cond_batch: Callable, model, conds: list, x_in, timestep, model_options) -> list:
        """Return the prediction for each of `conds` over all frames of `x_in`, `[frames, channels, height, width]`."""
        sigma = float(timestep.max())
        settings = self.active_settings(sigma, model.model_sampling)
        assert settings is not None, "the host asks should_use_context first"
        run = model_options["transformer_options"].get(CONTEXT_RUN) or ContextRun()
        attends = settings.attends_to_reference(sigma, model.model_sampling)
        evaluation = WindowEvaluation(
            calc_cond_batch,
            model,
            conds,
            x_in,
            timestep,
            model_options,
            settings,
            run=run,
            reference=self._choose_reference(settings, run, len(x_in), attends),
        )
        return predict_in_tiles(evaluation) if settings.divides_picture(*x_in.shape[-2:]) else evaluation.predict()

    def _choose_reference(
        self, settings: ContextSettings, run: ContextRun, frames: int, attends: bool
    ) -> WindowReference | None:
        """Return the reference of one evaluation; its frame is the same one in all steps and settings."""
        if not (settings.has_reference and settings.divides_clip(frames)):
            return None
        if not (run.same_source and (attends or run.same_prompts)):
            return None
        frame = min(frames, *(each.layout.length for each in self.settings)) // 2
        return WindowReference(frame, attends, matches_means=run.same_prompts)
