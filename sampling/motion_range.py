"""Samplers whose steps all lie outside the range of a motion model: allowed where motion runs elsewhere in the prompt.

A second pass, or the second half of a split sampler, may lie after the end of the range on purpose.
A prompt in which no motion module runs at all is refused.
"""

import logging

from ..motion_modules.errors import LoomError
from ..motion_modules.unet.applied import AppliedMotion
from .running_prompt import RunningPrompt

RANGE_INPUTS = ("denoise", "start_at_step", "end_at_step")  # of a sampler node


def list_acting(motions: tuple[AppliedMotion, ...], sigmas, model_sampling) -> tuple[AppliedMotion, ...]:
    """Return the motion models whose range holds a step of `sigmas`; all of them where there is no step."""
    steps = [float(sigma) for sigma in sigmas[:-1]]
    return tuple(
        motion for motion in motions if not steps or any(motion.acts_at(sigma, model_sampling) for sigma in steps)
    )


def record_run(motions: tuple[AppliedMotion, ...], prompt: RunningPrompt | None, ran: bool) -> None:
    """Record in each of `motions` that it ran, or was off, in this sampler."""
    for motion in motions:
        motion.history.record(_sign(prompt), ran)


def log_motion_off(motions: tuple[AppliedMotion, ...], prompt: RunningPrompt | None) -> None:
    """Say once for each sampler that it runs without these motion models."""
    for motion in motions:
        if prompt is None or motion.history.ran_in(_sign(prompt)) is None:
            logging.warning(f"{_describe_range(motion)}. This sampler has no step there and runs without it.")


def require_motion_elsewhere(motions: tuple[AppliedMotion, ...], prompt: RunningPrompt | None) -> None:
    """Raise LoomError unless one of `motions` ran in another sampler of the prompt, or may run in one still to come."""
    if not any(_runs_elsewhere(motion, prompt) for motion in motions):
        raise LoomError(
            f"{_describe_range(motions[0])}, where this sampler has no step, and no other sampler uses it. "
            f"Widen {_name_range_settings(motions[0])}, or change {_name_range_inputs(prompt)} of the sampler."
        )


def _runs_elsewhere(motion: AppliedMotion, prompt: RunningPrompt | None) -> bool:
    if prompt is None:
        return motion.history.ran_anywhere()
    if motion.history.ran_in(_sign(prompt)):  # a node that samples several times
        return True
    return any(motion.history.ran_in(prompt.sign(id)) is not False for id in prompt.list_other_samplers())


def _describe_range(motion: AppliedMotion) -> str:
    settings = motion.settings
    percents = f"{settings.start_percent:.0%} to {settings.end_percent:.0%}"
    condition = " while its `progress_curve` is above 0" if settings.has_progress_curve else ""
    return f"Motion model '{motion.name}' acts from {percents} of the schedule{condition}"


def _name_range_settings(motion: AppliedMotion) -> str:
    curve = " and raise `progress_curve` of Motion Strength" if motion.settings.has_progress_curve else ""
    return f"`start_percent` and `end_percent`{curve}"


def _name_range_inputs(prompt: RunningPrompt | None) -> str:
    """Name the inputs of the running node that decide on its steps."""
    names = [f"`{name}`" for name in RANGE_INPUTS if prompt is not None and name in prompt.inputs]
    return " and ".join(names or ["`denoise`"])


def _sign(prompt: RunningPrompt | None) -> int | None:
    return None if prompt is None else prompt.sign(prompt.node_id)
