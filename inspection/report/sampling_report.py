"""Sampling report on a MODEL: it fills while a sampler runs, and is read afterwards."""

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

MAX_RUNS = 4  # complete ones: two samplers on one model, and those that the host still has outputs of
FINGERPRINT_VALUES = 64
TOLERANCE = 1e-2


@dataclass(frozen=True)
class ReportSettings:
    """Settings of Sampling Report.

    `stop_at_nan` ends a run at its first NaN. `attention_maps` draws attention between frames at
    the sites that match the patterns `attention_sites` (site_patterns.py), or at all sites where
    there are none.
    """

    stop_at_nan: bool = False
    attention_maps: bool = False
    attention_sites: str = ""

    def choose_sites(self, sites: Collection[str]) -> Collection[str]:
        """Return the sites of motion modules, of all `sites` of a model, where attention is drawn.

        Raises MotionModelError for a pattern that matches none of them. Without sites there is
        nothing to choose.
        """
        if not (sites and self.attention_maps):
            return ()
        if not split_patterns(self.attention_sites):
            return sites
        return sites_like(self.attention_sites, sites, "the motion modules on this model", "attention_sites")


class SamplingReport:
    """Content of SAMPLING_REPORT sockets: the last complete runs of the samplers after one node, newest last.

    A run that failed or was interrupted is not among them: it is `unfinished` until another one
    completes.
    """

    def __init__(self, settings: ReportSettings):
        self.settings = settings
        self.complete: deque[ReportRun] = deque(maxlen=MAX_RUNS)
        self.unfinished: ReportRun | None = None
        self._count = 0

    def begin(self, facts: RunFacts, sites: Collection[str]) -> ReportRun:
        """Begin a run of a model that has motion modules at `sites`."""
        drawn = frozenset(self.settings.choose_sites(sites))
        self._count += 1
        self.unfinished = ReportRun(facts, Observer(lambda site: site in drawn), self._count)
        return self.unfinished

    def complete_run(self, run: ReportRun, samples: torch.Tensor) -> None:
        run.fingerprint = take_fingerprint(samples)
        run.end(COMPLETE)
        self.complete.append(run)
        self.unfinished = None

    def find_run(self, after: Any) -> ReportRun:
        """Return the run that produced the LATENT `after`, or the last complete run if `after` is something else."""
        if not self.complete:
            raise LoomError(self._explain_empty())
        samples = after.get("samples") if isinstance(after, dict) else None
        wanted = take_fingerprint(samples) if samples is not None else ()
        matching = (run for run in reversed(self.complete) if wanted and _is_close(run.fingerprint, wanted))
        return next(matching, self.complete[-1])

    def _explain_empty(self) -> str:
        if self.unfinished is not None:
            return (
                f"`report` is empty, since its last run did not finish ({self.unfinished.state}). "
                "Run the workflow again, and let the sampler finish."
            )
        return (
            "`report` is empty, since no sampler has run with the model of its Sampling Report node. "
            "Connect that model to the sampler, and the sampler's latent to `after`."
        )


def add_sampling_report(model: ModelPatcher, settings: ReportSettings) -> tuple[ModelPatcher, SamplingReport]:
    """Return a clone of `model` and the report that its samplers fill.

    A report that `model` itself has is not changed by runs of the clone.
    """
    clone, report = model.clone(), SamplingReport(settings)
    put_on_model(clone, REPORT, report)
    add_wrapper_once(clone, WrappersMP.OUTER_SAMPLE, REPORT, sample_with_report)
    add_wrapper_once(clone, WrappersMP.PREDICT_NOISE, REPORT, record_evaluation)
    return clone, report


def sample_with_report(executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
    """Wrapper of the host's guider: one run of the report, with an observer that exists as long as the run."""
    guider = executor.class_obj
    report: SamplingReport = guider.model_options["transformer_options"][REPORT]
    facts = _collect_facts(noise, sigmas, _find_seed(args, kwargs), guider.model_options)
    run = report.begin(facts, _collect_sites(guider.model_options))
    try:
        with set_temporarily(guider.model_options, {OBSERVER: run.observer, REPORT_RUN: run}):
            samples = executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
    except BaseException as error:
        interrupted = isinstance(error, (InterruptProcessingException, KeyboardInterrupt))
        run.end(INTERRUPTED if interrupted else FAILED, str(error))
        raise
    report.complete_run(run, samples)
    return samples


def record_evaluation(executor, x, timestep, model_options=None, seed=None):
    """Wrapper of one evaluation of the guider: record what the observer measured, and stop at a NaN if asked to."""
    options = (model_options or {}).get("transformer_options", {})
    predicted = executor(x, timestep, model_options or {}, seed)
    if REPORT_RUN in options:
        run: ReportRun = options[REPORT_RUN]
        run.record_evaluation(float(timestep.max()), predicted)
        if options[REPORT].settings.stop_at_nan:
            run.raise_if_bad()
    return predicted


def take_fingerprint(samples: torch.Tensor) -> tuple[float, ...]:
    """Return some values of a latent, evenly spread, to recognise it by; none for a nested tensor."""
    if getattr(samples, "is_nested", False) or not samples.numel():
        return ()
    values = samples.flatten()
    stride = max(1, len(values) // FINGERPRINT_VALUES)
    return tuple(values[::stride][:FINGERPRINT_VALUES].float().tolist())


def _is_close(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    if len(one) != len(other):
        return False
    return torch.allclose(torch.tensor(one), torch.tensor(other), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def _collect_facts(noise: torch.Tensor, sigmas: torch.Tensor, seed: int | None, model_options: dict) -> RunFacts:
    names: dict[str, str] = {}
    for motion in applied_motion(model_options):
        repeats = sum(name.split(" #")[0] == motion.name for name in names.values())
        names[motion.key] = f"{motion.name} #{repeats + 1}" if repeats else motion.name
    height, width = noise.shape[-2:]
    return RunFacts(noise.shape[0], height, width, sigmas.cpu(), seed, names)


def _collect_sites(model_options: dict) -> list[str]:
    """Return the sites of all motion models on a model, each once."""
    return list(dict.fromkeys(site for motion in applied_motion(model_options) for site in motion.sites))


def _find_seed(args: tuple, kwargs: dict) -> int | None:
    """Return the seed as `CFGGuider.sample` passes it on: after denoise_mask, callback and disable_pbar."""
    return kwargs.get("seed", args[3] if len(args) > 3 else None)
