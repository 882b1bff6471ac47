"""Checks before sampling starts, and one after it: a clip must have moved."""

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ..motion_modules.errors import LoomError
from ..motion_modules.run_state import APPLIED, MOTION_RUN, add_wrapper_once, set_temporarily
from ..motion_modules.unet.applied import AppliedMotion, MotionRun, applied_motion
from ..motion_modules.unet.placement import find_blocking_patch
from .windows.conds import list_prompt_frame_counts, require_matching_conds
from .windows.handler import LoomContextHandler


def register_checks(model: ModelPatcher) -> None:
    """Put the checks on `model`, once."""
    add_wrapper_once(model, WrappersMP.OUTER_SAMPLE, APPLIED, check_and_sample)


def check_and_sample(executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
    """Wrapper of the host's guider: refuse what cannot become a clip, sample, and see that motion modules ran."""
    guider = executor.class_obj
    motions = applied_motion(guider.model_options)
    _check_layers(guider.model_options, motions)
    for motion in motions:
        at_once = _check_frames(motion, noise.shape[0], guider.model_options.get("context_handler"))
        _check_sites(motion, at_once, *noise.shape[-2:])
    _check_percents(motions, sigmas, guider.model_patcher.get_model_object("model_sampling"))
    require_matching_conds(guider.conds, list_prompt_frame_counts, noise.shape[0])
    run = MotionRun(guider.model_patcher)
    with set_temporarily(guider.model_options, {MOTION_RUN: run}):
        samples = executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
    if len(sigmas) > 1 and not run.executed:
        raise LoomError(
            f"Motion model '{motions[0].name}' never ran while sampling, so the clip would be still: "
            "take away the nodes on this model that replace the UNet's forward pass."
        )
    return samples


def _check_layers(model_options: dict, motions: tuple[AppliedMotion, ...]) -> None:
    other = find_blocking_patch(model_options)
    if other:
        raise LoomError(
            f"Motion model '{motions[0].name}' cannot run, since a node of '{other}' takes the UNet's layers first: "
            "move Apply Motion Model behind that node."
        )


def _check_frames(motion: AppliedMotion, frames: int, context_handler) -> int:
    """The number of frames that the motion model sees at once."""
    if frames < 2:
        raise LoomError(
            f"The latent has {frames} frame, but motion model '{motion.name}' needs at least 2 (16 is usual): "
            "raise batch_size of the Empty Latent Image node."
        )
    at_once = _frames_at_once(frames, context_handler)
    if at_once > motion.positions:
        raise LoomError(
            f"The model would see {at_once} frames at once, but motion model '{motion.name}' has positions for "
            f"{motion.positions}: put a Context Windows (AnimateDiff) node on the model with a context_length of at "
            f"most {motion.positions}, from start_percent 0 on, or lower the latent's batch_size."
        )
    return at_once


def _check_sites(motion: AppliedMotion, frames: int, height: int, width: int) -> None:
    for name, site in motion.sites.items():
        objection = motion.specs[name].objection(site.clip(frames, height, width))
        if objection:
            raise LoomError(
                f"Motion model '{motion.name}' cannot work at '{name}' in this latent, since {objection}: "
                "make the latent smaller, or use a motion model without a module there."
            )


def _frames_at_once(frames: int, context_handler) -> int:
    """The host's own handler splits along `dim` and may put a frame before a window."""
    if isinstance(context_handler, LoomContextHandler):
        return context_handler.attended_frames(frames)
    length = getattr(context_handler, "context_length", frames)
    if frames <= length or getattr(context_handler, "dim", 0) != 0:
        return frames
    return length + bool(getattr(context_handler, "causal_window_fix", False))


def _check_percents(motions: tuple[AppliedMotion, ...], sigmas, model_sampling) -> None:
    steps = [float(sigma) for sigma in sigmas[:-1]]
    if steps and not any(motion.acts_at(sigma, model_sampling) for motion in motions for sigma in steps):
        settings = motions[0].settings
        raise LoomError(
            f"Motion model '{motions[0].name}' acts from {settings.start_percent:.0%} to {settings.end_percent:.0%} of "
            "the schedule, where this sampler has no step: widen start_percent and end_percent, or raise denoise."
        )
