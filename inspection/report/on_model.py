"""A report put on a MODEL: it fills while a sampler node runs, and is read behind it."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from comfy.model_management import InterruptProcessingException
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...motion_modules.errors import LoomError
from ...motion_modules.run_state import OBSERVER, REPORT, REPORT_RUN, add_wrapper_once, put_on_model, set_temporarily
from ...motion_modules.unet.applied import applied_motion
from ...motion_modules.unet.site_patterns import sites_like, split_patterns
from ...motion_modules.watching.observer import Observer
from .run import COMPLETE, FAILED, INTERRUPTED, ReportRun, RunFacts

KEPT = 4  # complete runs: two samplers on one model, and what the host still has of them
FINGERPRINT = 64  # values of a latent that tell it from others
CLOSE = 1e-2


@dataclass(frozen=True)
class ReportSettings:
    """Settings of Sampling Report.

    `stop_at_nan` ends a run at its first NaN. `attention_maps` draws attention between frames at the sites that match
    the patterns `attention_sites` (site_patterns.py), or at all sites where there are none.
    """

    stop_at_nan: bool = False
    attention_maps: bool = False
    attention_sites: str = ""

    def choose_sites(self, sites: Collection[str]) -> Collection[str]:
        """Return the sites of motion modules, of all `sites` of a model, where attention is drawn.

        Raises MotionModelError for a pattern that matches none of them. Without sites there is nothing to choose.
        """
        if not (sites and self.attention_maps):
            return ()
        if not split_patterns(self.attention_sites):
            return sites
        return sites_like(self.attention_sites, sites, "the motion modules on this model", "attention_sites")


class SamplingReport:
    """What SAMPLING_REPORT sockets carry: the last complete runs of the samplers behind one node, newest last.

    A run that failed or was interrupted is not among them; `unfinished` is it until another one completes.
    """

    def __init__(self, settings: ReportSettings):
        self.settings = settings
        self.complete: deque[ReportRun] = deque(maxlen=KEPT)
        self.unfinished: ReportRun | None = None
        self._count = 0

    def begin(self, facts: RunFacts, sites: Collection[str]) -> ReportRun:
        """Begin a run of a model that has motion modules at `sites`."""
        drawn = frozenset(self.settings.choose_sites(sites))
        self._count += 1
        self.unfinished = ReportRun(facts, Observer(lambda site: site in drawn), self._count)
        return self.unfinished

    def end(self, run: ReportRun, samples: torch.Tensor) -> None:
        run.fingerprint = fingerprint(samples)
        run.end(COMPLETE)
        self.complete.append(run)
        self.unfinished = None

    def run_of(self, after: Any) -> ReportRun:
        """The run that made the LATENT `after`, or the last complete one when `after` is something else."""
        if not self.complete:
            raise LoomError(f"`report` is empty, since {self._why_empty()}.")
        samples = after.get("samples") if isinstance(after, dict) else None
        wanted = fingerprint(samples) if samples is not None else ()
        made = (run for run in reversed(self.complete) if wanted and _close(run.fingerprint, wanted))
        return next(made, self.complete[-1])

    def _why_empty(self) -> str:
        if self.unfinished is not None:
            return f"its only run is {self.unfinished.state}: run the sampler again"
        return (
            "no sampler has run with the model of its Sampling Report node: connect that model to the sampler, and "
            "`after` to what the sampler makes"
        )


def add_sampling_report(model: ModelPatcher, settings: ReportSettings) -> tuple[ModelPatcher, SamplingReport]:
    """A clone of `model` and the report that its samplers fill; a report that `model` had before stays as it is."""
    clone, report = model.clone(), SamplingReport(settings)
    put_on_model(clone, REPORT, report)
    add_wrapper_once(clone, WrappersMP.OUTER_SAMPLE, REPORT, sample_with_report)
    add_wrapper_once(clone, WrappersMP.PREDICT_NOISE, REPORT, read_evaluation)
    return clone, report


def sample_with_report(executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
    """Wrapper of the host's guider: one run of the report, with an observer that is there as long as it."""
    guider = executor.class_obj
    report: SamplingReport = guider.model_options["transformer_options"][REPORT]
    facts = _facts(noise, sigmas, _seed(args, kwargs), guider.model_options)
    run = report.begin(facts, _motion_sites(guider.model_options))
    try:
        with set_temporarily(guider.model_options, {OBSERVER: run.observer, REPORT_RUN: run}):
            samples = executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
    except BaseException as error:
        interrupted = isinstance(error, (InterruptProcessingException, KeyboardInterrupt))
        run.end(INTERRUPTED if interrupted else FAILED, str(error))
        raise
    report.end(run, samples)
    return samples


def read_evaluation(executor, x, timestep, model_options=None, seed=None):
    """Wrapper of one evaluation of the guider: fetches what the observer saw, and stops where that is asked for."""
    options = (model_options or {}).get("transformer_options", {})
    predicted = executor(x, timestep, model_options or {}, seed)
    if REPORT_RUN in options:
        run: ReportRun = options[REPORT_RUN]
        run.evaluated(float(timestep.max()), predicted)
        if options[REPORT].settings.stop_at_nan:
            run.stop_if_bad()
    return predicted


def fingerprint(samples: torch.Tensor) -> tuple[float, ...]:
    """Some values of a latent, evenly spread; a nested tensor has none."""
    if getattr(samples, "is_nested", False) or not samples.numel():
        return ()
    values = samples.flatten()
    return tuple(values[:: max(1, len(values) // FINGERPRINT)][:FINGERPRINT].float().tolist())


def _close(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    if len(one) != len(other):
        return False
    return torch.allclose(torch.tensor(one), torch.tensor(other), rtol=CLOSE, atol=CLOSE, equal_nan=True)


def _facts(noise: torch.Tensor, sigmas: torch.Tensor, seed: int | None, model_options: dict) -> RunFacts:
    names: dict[str, str] = {}
    for motion in applied_motion(model_options):
        again = sum(name.split(" #")[0] == motion.name for name in names.values())
        names[motion.key] = f"{motion.name} #{again + 1}" if again else motion.name
    height, width = noise.shape[-2:]
    return RunFacts(noise.shape[0], height, width, sigmas.cpu(), seed, names)


def _motion_sites(model_options: dict) -> list[str]:
    """Return the sites of all motion models on a model, each once."""
    return list(dict.fromkeys(site for motion in applied_motion(model_options) for site in motion.sites))


def _seed(args: tuple, kwargs: dict) -> int | None:
    """As `CFGGuider.sample` hands it on: behind denoise_mask, callback and disable_pbar."""
    return kwargs.get("seed", args[3] if len(args) > 3 else None)
