"""Context windows put on a MODEL: the handler, the checks before sampling, and the host's memory estimate."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...motion_modules.errors import LoomError
from ...motion_modules.run_state import CONTEXT_RUN, add_wrapper_once, set_temporarily
from .conds import have_equal_entries, have_same_prompts, list_frame_counts, require_matching_conds
from .continuation import continues_one_source, remember_unfinished
from .handler import LoomContextHandler
from .run import ContextRun
from .settings import ContextSettings
from .tile_conds import make_uncut_error, require_cuttable
from .tiles import TileLayout

HANDLER = "context_handler"
ATTENTION_GUIDANCE = "comfy_extras.nodes_sag"


def add_context_windows(model: ModelPatcher, settings: ContextSettings) -> ModelPatcher:
    """Return a clone of `model` that samples in windows, besides windows of this pack that start at another percent."""
    settings.check()
    clone = model.clone()
    options: dict[str, Any] = clone.model_options
    handler = options.get(HANDLER)
    if not isinstance(handler, LoomContextHandler):
        handler = LoomContextHandler(())
    options[HANDLER] = handler.add(settings)
    add_wrapper_once(clone, WrappersMP.OUTER_SAMPLE, CONTEXT_RUN, sample_in_windows)
    add_wrapper_once(clone, WrappersMP.PREPARE_SAMPLING, CONTEXT_RUN, estimate_window_memory)
    return clone


def sample_in_windows(executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
    """Wrapper of the host's guider: refuse what cannot be cut into windows, and begin a run."""
    guider = executor.class_obj
    handler = guider.model_options.get(HANDLER)
    if not isinstance(handler, LoomContextHandler):
        return executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
    _check(handler, guider, noise)
    run = _begin_run(handler, guider.conds, latent_image)
    with set_temporarily(guider.model_options, {CONTEXT_RUN: run}):
        samples = executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
    if run.same_source and len(sigmas) and sigmas[-1] > 0:
        remember_unfinished(samples)
    return samples


def _begin_run(handler: LoomContextHandler, conds: Mapping[str, list[dict]], latent_image: torch.Tensor) -> ContextRun:
    """Return the state of a new run, which knows whether anything gives the frames different looks."""
    run = ContextRun(same_source=have_equal_entries(latent_image) or continues_one_source(latent_image))
    if any(each.has_reference and each.divides_clip(len(latent_image)) for each in handler.settings):
        run.same_prompts = have_same_prompts(conds)
        if not (run.same_source and run.same_prompts):
            logging.info(_explain_reference(run))
    return run


def _explain_reference(run: ContextRun) -> str:
    if run.same_source:
        return (
            "Apply Context Windows (AnimateDiff): prompts, masks or control images differ between frames, so "
            "`reference_until` keeps objects consistent, but leaves the colours to them."
        )
    return (
        "Apply Context Windows (AnimateDiff): the latent's frames differ, so windows follow them and "
        "`reference_until` has no effect."
    )


def _check(handler: LoomContextHandler, guider, noise) -> None:
    if noise.ndim != 4:
        raise LoomError(
            f"The latent has the shape {list(noise.shape)}, but Apply Context Windows (AnimateDiff) needs a batch of "
            "images [frames, channels, height, width]. Use ComfyUI's own Context Windows node for a video model."
        )
    frames, (height, width) = noise.shape[0], noise.shape[-2:]
    for settings in handler.settings:
        settings.check_frames(frames)
    in_tiles = [settings for settings in handler.settings if settings.divides_picture(height, width)]
    for settings in in_tiles:
        _check_tiles(settings.tiles, guider)
    if any(settings.divides_clip(frames) for settings in handler.settings):
        refuse_attention_guidance(guider.model_options)
    if in_tiles or any(settings.divides(frames) for settings in handler.settings):
        require_matching_conds(guider.conds, list_frame_counts, frames)


def _check_tiles(layout: TileLayout | None, guider) -> None:
    """Raise LoomError when the model, or an input of a prompt, cannot be divided into tiles."""
    assert layout is not None, "only a picture in tiles is divided"
    layout.check_model(guider.model_patcher.model)
    require_cuttable(guider.conds)
    if has_attention_guidance(guider.model_options):
        raise make_uncut_error("The attention that Self-Attention Guidance reads", "Remove Self-Attention Guidance")


def has_attention_guidance(model_options: dict) -> bool:
    """Return whether the model has the host's Self-Attention Guidance."""
    functions = model_options.get("sampler_post_cfg_function", [])
    return any(getattr(function, "__module__", "") == ATTENTION_GUIDANCE for function in functions)


def refuse_attention_guidance(model_options: dict) -> None:
    """Raise LoomError when the model has the host's Self-Attention Guidance, which cannot work in windows."""
    if has_attention_guidance(model_options):
        raise LoomError(
            "Self-Attention Guidance needs the attention of the whole clip, but context windows divide it. "
            "Remove Self-Attention Guidance from this model, or use Apply Context Windows (AnimateDiff) with the "
            "schedule view."
        )


def estimate_window_memory(executor, model, noise_shape, conds, *args, **kwargs):
    """Wrapper of the host's memory estimate: count the frames of one window and the size of one tile."""
    handler = kwargs.get("model_options", {}).get(HANDLER)
    if isinstance(handler, LoomContextHandler) and len(noise_shape) == 4:
        frames, channels, height, width = noise_shape
        if not _sees_whole_clip(handler, frames):
            frames = min(frames, handler.context_length)
        noise_shape = [frames, channels, *handler.fit_tile(height, width)]
    return executor(model, noise_shape, conds, *args, **kwargs)


def _sees_whole_clip(handler: LoomContextHandler, frames: int) -> bool:
    starts_late = handler.settings[0].start_percent > 0
    return starts_late or any(settings.divides_attention(frames) for settings in handler.settings)
