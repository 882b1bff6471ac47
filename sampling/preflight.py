"""Checks of a MODEL with motion: before sampling starts, and one after it, that motion modules ran.

`animate` registers them; the host's guider calls `check_and_sample`.
"""

from collections.abc import Mapping
from itertools import chain

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ..motion_modules.errors import LoomError
from ..motion_modules.run_state import APPLIED, MOTION_RUN, add_wrapper_once, set_temporarily
from ..motion_modules.unet.applied import AppliedMotion, MotionRun, applied_motion
from ..motion_modules.unet.clip_frames import WRAPPERS, list_recording_wrappers
from ..motion_modules.unet.placement import find_blocking_patch
from .advice import SamplingFacts, give_advice
from .frame_advice import advise_more_frames
from .motion_range import list_acting, log_motion_off, record_run, require_motion_elsewhere
from .other_nodes import may_divide_clip
from .running_prompt import RunningPrompt, find_running_prompt
from .sparse_control.control import check_sparse_controls
from .windows.conds import is_in_area, list_prompt_frame_counts, require_matching_conds
from .windows.handler import LoomContextHandler
from .windows.on_model import refuse_attention_guidance
from .windows.tile_conds import make_uncut_error


def register_checks(model: ModelPatcher) -> None:
    """Put the checks on `model`, once."""
    add_wrapper_once(model, WrappersMP.OUTER_SAMPLE, APPLIED, check_and_sample)


def check_and_sample(executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
    """Wrapper of the host's guider: refuse what cannot become a clip, sample, and require that motion modules ran."""
    guider, prompt = executor.class_obj, find_running_prompt()
    motions = applied_motion(guider.model_options)
    acting = list_acting(motions, sigmas, guider.model_patcher.get_model_object("model_sampling"))
    if not acting:
        require_motion_elsewhere(motions, prompt)
    _check_before_sampling(guider, acting, noise, latent_image, sigmas, prompt)
    idle = tuple(motion for motion in motions if motion not in acting)
    log_motion_off(idle, prompt)
    give_advice(acting, _collect_facts(guider, noise, latent_image, sampler, sigmas, prompt), prompt)
    size = tuple(noise.shape[-2:])
    has_areas = any(is_in_area(cond, *size) for cond in chain.from_iterable(guider.conds.values()))
    run = MotionRun(guider.model_patcher, noise.shape[0], size, has_areas)
    values = {MOTION_RUN: run, WRAPPERS: list_recording_wrappers(guider.model_options)}
    with set_temporarily(guider.model_options, values):
        samples = executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
    if acting and len(sigmas) > 1 and not run.executed:
        raise LoomError(
            f"Motion model '{acting[0].name}' never ran while sampling, so the clip would be still. "
            "Remove the nodes on this model that replace the UNet's forward pass."
        )
    record_run(acting, prompt, run.executed)
    record_run(idle, prompt, False)
    return samples


def _collect_facts(guider, noise, latent, sampler, sigmas, prompt: RunningPrompt | None) -> SamplingFacts:
    find_value = prompt.find_value if prompt else lambda name: None
    attended = _attended_frames(noise.shape[0], guider.model_options)
    function = getattr(getattr(sampler, "sampler_function", None), "__name__", "")
    return SamplingFacts(
        latent=latent,
        sigmas=sigmas,
        model_sampling=guider.model_patcher.get_model_object("model_sampling"),
        attended=attended,
        windowed=attended is not None and attended < noise.shape[0],
        loras=bool(guider.model_patcher.patches),
        cfg=getattr(guider, "cfg", None),
        sampler=find_value("sampler_name") or function.removeprefix("sample_") or None,
        scheduler=find_value("scheduler"),
        denoise=find_value("denoise"),
        vae=prompt.find_decoding_vae() if prompt else None,
        lora_file=find_value("lora_name"),
    )


def _check_before_sampling(
    guider, motions: tuple[AppliedMotion, ...], noise, latent, sigmas, prompt: RunningPrompt | None
) -> None:
    frames, (height, width) = noise.shape[0], noise.shape[-2:]
    attended = _attended_frames(frames, guider.model_options)
    _check_layers(guider.model_options, motions)
    if _is_in_host_windows(frames, guider.model_options):
        refuse_attention_guidance(guider.model_options)
    for motion in motions:
        _check_two_frames(motion, frames, latent, prompt)
        for variation in motion.variations:
            variation.check_frames(frames)
        for each in motion.adapters:
            condition = motion.find_condition(each.adapter, guider.model_options["transformer_options"])
            condition.check_clip(frames, height, width)
            _refuse_areas(each.adapter.name, guider.conds, height, width)
            if not each.adapter.fits_tiles and _evaluated_size(height, width, guider.model_options) != (height, width):
                raise make_uncut_error(f"The input of {each.adapter.name}", "Choose another motion model")
        if attended is not None:
            _check_positions(motion, attended, guider.model_options)
            motion.check_size(attended, *_evaluated_size(height, width, guider.model_options))
        _check_smallest_windows(motion, frames, guider, sigmas)
    require_matching_conds(guider.conds, list_prompt_frame_counts, frames)
    check_sparse_controls(guider.conds, frames, attended)


def _attended_frames(frames: int, model_options: dict) -> int | None:
    """Return the number of frames that the model sees at once, None where another pack may divide the clip.

    Then motion modules check each evaluation. The host's own handler divides `dim`, and may put a
    frame before a window.
    """
    context_handler = model_options.get("context_handler")
    if isinstance(context_handler, LoomContextHandler):
        return context_handler.attended_frames(frames)
    if may_divide_clip(model_options):
        return None
    length = getattr(context_handler, "context_length", frames)
    if frames <= length or getattr(context_handler, "dim", 0) != 0:
        return frames
    return length + bool(getattr(context_handler, "causal_window_fix", False))


def _evaluated_size(height: int, width: int, model_options: dict) -> tuple[int, int]:
    """Return the height and width that the model sees at once of a latent of this size."""
    handler = model_options.get("context_handler")
    return handler.fit_tile(height, width) if isinstance(handler, LoomContextHandler) else (height, width)


def _is_in_host_windows(frames: int, model_options: dict) -> bool:
    handler = model_options.get("context_handler")
    divides = frames > getattr(handler, "context_length", frames) and getattr(handler, "dim", 0) == 0
    return divides and not isinstance(handler, LoomContextHandler)


def _check_layers(model_options: dict, motions: tuple[AppliedMotion, ...]) -> None:
    blocking_module = find_blocking_patch(model_options)
    if blocking_module:
        raise LoomError(
            f"Motion model '{motions[0].name}' cannot run, because a node of '{blocking_module}' takes the UNet's "
            "layers first. Move Apply Motion Model after that node."
        )


def _refuse_areas(adapter: str, conds: Mapping[str, list[dict]], height: int, width: int) -> None:
    for role, prompt_conds in conds.items():
        if any(is_in_area(cond, height, width) for cond in prompt_conds):
            raise LoomError(
                f"The {role} prompt has an area, but the input of {adapter} covers the whole picture. Remove the area, "
                "or set a mask instead."
            )


def _check_two_frames(motion: AppliedMotion, frames: int, latent, prompt: RunningPrompt | None) -> None:
    if frames < 2:
        raise LoomError(
            f"The latent has {frames} frame, but motion model '{motion.name}' needs at least 2. "
            f"{advise_more_frames(prompt, latent)}"
        )


def _check_smallest_windows(motion: AppliedMotion, frames: int, guider, sigmas) -> None:
    """Refuse windows of one frame in steps in which `motion` acts: no frame would see another."""
    handler = guider.model_options.get("context_handler")
    if not isinstance(handler, LoomContextHandler):
        return
    model_sampling = guider.model_patcher.get_model_object("model_sampling")
    acting_sigmas = (float(sigma) for sigma in sigmas[:-1] if motion.acts_at(float(sigma), model_sampling))
    for settings in dict.fromkeys(handler.active_settings(sigma, model_sampling) for sigma in acting_sigmas):
        if settings and settings.fewest_attended_frames(frames) < 2:
            raise _describe_window_of_one_frame(motion, frames, settings.layout.length)


def _describe_window_of_one_frame(motion: AppliedMotion, frames: int, length: int) -> LoomError:
    return LoomError(
        f"With `context_length` {length}, a window of this clip of {frames} frames has 1 frame, but motion model "
        f"'{motion.name}' needs at least 2. Raise `context_length` of Apply Context Windows (AnimateDiff)."
    )


def _check_positions(motion: AppliedMotion, attended: int, model_options: dict) -> None:
    if attended > motion.positions:
        in_windows = isinstance(model_options.get("context_handler"), LoomContextHandler)
        node = "Apply Context Windows (AnimateDiff)"
        change = f"Set {node} to" if in_windows else f"Add {node} to the model with"
        raise LoomError(
            f"The model would see {attended} frames at once, but motion model '{motion.name}' has positions for "
            f"{motion.positions}. {change} a `context_length` of up to {motion.positions} and "
            f"`start_percent` 0, or use fewer frames."
        )
