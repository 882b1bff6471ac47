"""Motion modules in the host's UNet, through its own extension points and without a change to the shared model.

Settings travel in `transformer_options` (run_state.py), weights as additional models of the
patcher. A wrapper around each evaluation picks the active modules, and handlers for two layer
classes run them after the layers.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import nn

from ..attention_tap import AttentionTap, BatchContents, ModuleTaps
from ..contract import ATTENTION_OVERRIDE, MotionInputs, fit_size
from ..errors import MotionModelError
from ..motion_model import MotionModel
from ..run_state import (
    ACTIVE,
    APPLIED,
    ATTENTION_TAPS,
    MOTION_RUN,
    OBSERVER,
    add_wrapper_once,
    frame_numbers,
    list_call_frames,
    put_on_model,
)
from ..watching.observer import Module, Observer
from .activation import ActiveModule, ActiveMotion, Evaluation, group_by_block
from .applied import AppliedMotion, MotionRun, MotionSettings, applied_motion
from .clip_frames import find_clip_frames
from .low_rank import add_low_rank_parts
from .sites import Site, require_fit
from .variation import QueryScale, ScaledModule, TokenField
from .weight_hooks import register_weight_hooks

LAYER_PATCHES = "forward_timestep_embed_patch"
BLOCK_PATCHES = "input_block_patch"
FIRST_BLOCK = ("input", 0)


def place(model: ModelPatcher, motion_model: MotionModel, settings: MotionSettings) -> ModelPatcher:
    """Return a clone of `model` in whose UNet `motion_model` runs, after the motion models that it already has."""
    sites = require_fit(model, motion_model)
    clone = model.clone()
    applied = applied_motion(clone.model_options)
    strengths, scales = (
        variation.scale_sites(sites, f"motion model '{motion_model.name}'") if variation else {}
        for variation in (settings.motion_strength, settings.motion_attention_scale)
    )
    motion = AppliedMotion(
        key=f"loom_motion_{len(applied)}_{motion_model.name}",
        name=motion_model.name,
        positions=settings.positions.capacity(motion_model.positions),
        joint_unet_norm=motion_model.family.joint_unet_norm,
        settings=settings,
        sites=sites,
        specs=motion_model.specs,
        site_strengths=strengths,
        site_attention_scales=scales,
        family=motion_model.family,
        loras=motion_model.loras,
        adapters=motion_model.adapters,
        conditions=motion_model.conditions,
        varying_loras=motion_model.varying_loras,
    )
    clone.set_additional_models(motion.key, [motion_model.patcher.clone()])
    put_on_model(clone, APPLIED, (*applied, motion))
    if not applied:
        _register(clone)
    if motion.adapters:
        _register_adapters(clone)
    return clone


def add_attention_tap(model: ModelPatcher, tap: AttentionTap) -> ModelPatcher:
    """Return a clone of `model` whose motion modules show their attention to `tap`, after the taps that it has."""
    clone = model.clone()
    taps = clone.model_options["transformer_options"].get(ATTENTION_TAPS, ())
    put_on_model(clone, ATTENTION_TAPS, (*taps, tap))
    return clone


def module_options(sites: Mapping[str, Site], modules: Mapping[str, nn.Module], inputs: MotionInputs) -> dict:
    """Return `transformer_options` that run `modules` at `sites`, which have the same names, without a patcher."""
    entries = [(site, ActiveModule("", name, modules[name], inputs)) for name, site in sites.items()]
    return {"patches": {LAYER_PATCHES: _list_layer_patches()}, ACTIVE: group_by_block(entries)}


def find_blocking_patch(model_options: dict) -> str | None:
    """Return the module of a layer patch that takes the UNet's layers before ours can, else None."""
    patches = model_options.get("transformer_options", {}).get("patches", {}).get(LAYER_PATCHES, [])
    for layer_class, handler in patches:
        if handler in (after_transformer, after_residual):
            return None
        if issubclass(SpatialTransformer, layer_class) or issubclass(ResBlock, layer_class):
            return handler.__module__
    return None


def _register(model: ModelPatcher) -> None:
    """Put the layer patches first, since the first one for a class wins; they call the other patches in turn."""
    patches = model.model_options["transformer_options"].setdefault("patches", {})
    patches[LAYER_PATCHES] = _list_layer_patches() + patches.get(LAYER_PATCHES, [])
    add_wrapper_once(model, WrappersMP.APPLY_MODEL, APPLIED, evaluate_with_motion)
    add_wrapper_once(model, WrappersMP.DIFFUSION_MODEL, APPLIED, hand_over_motion)
    register_weight_hooks(model)


def _register_adapters(model: ModelPatcher) -> None:
    patches = model.model_options["transformer_options"]["patches"].setdefault(BLOCK_PATCHES, [])
    if after_first_convolution not in patches:
        patches.insert(0, after_first_convolution)


def _list_layer_patches() -> list:
    return [(SpatialTransformer, after_transformer), (ResBlock, after_residual)]


def evaluate_with_motion(
    executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs
):
    """Decide which motion models act in this evaluation. Wraps the host's `apply_model`."""
    options = transformer_options or {}
    acting = _select_acting(options.get(APPLIED, ()), t, executor.class_obj.model_sampling)
    if not acting:
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
    run: MotionRun | None = options.get(MOTION_RUN)
    frames = find_clip_frames(x.shape[0], options, c_crossattn)
    _require_two_frames(acting, frames)
    if run is not None:
        for motion in acting:
            run.check_size(motion, frames, *x.shape[-2:])
    active = Evaluation(executor.class_obj, x, t.max(), frames, options).activate(acting)
    with active.joint_norm or nullcontext():
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs, **{ACTIVE: active})


@torch.compiler.disable(recursive=False)
def hand_over_motion(
    executor, x, timesteps=None, context=None, y=None, control=None, transformer_options=None, **kwargs
):
    """Put the active motion into `transformer_options`, where layer patches read it. Wraps the UNet's `forward`.

    The active motion arrives as a separate argument, since torch.compile in the host guards every
    argument except `transformer_options`. For the same reason no code that reads these options is
    compiled here, while residual blocks and motion modules are compiled one by one.
    """
    active: ActiveMotion | None = kwargs.pop(ACTIVE, None)
    active = active and active.start(x)
    options = {**(transformer_options or {}), ACTIVE: active}
    return executor(x, timesteps, context, y, control, options, **kwargs)


def _select_acting(applied: tuple[AppliedMotion, ...], t, model_sampling) -> list[AppliedMotion]:
    return [motion for motion in applied if motion.acts_always or motion.acts_at(float(t.max()), model_sampling)]


def _require_two_frames(acting: list[AppliedMotion], frames: int) -> None:
    """Refuse windows of one frame that another node's handler makes: checks before sampling do not see them."""
    if frames < 2:
        raise MotionModelError(
            f"Motion model '{acting[0].name}' received {frames} frame at once, but needs at least 2. "
            "Raise the length of the context windows, or choose windows of equal length."
        )


@torch.compiler.disable(recursive=False)
def after_first_convolution(h, transformer_options):
    """Add what adapters add to the output of the UNet's first convolution. A patch of the host's input blocks."""
    active: ActiveMotion | None = transformer_options.get(ACTIVE)
    if active is None or transformer_options["block"] != FIRST_BLOCK:
        return h
    for effects in active.effects:
        h = effects.after_conv_in(h) if effects.after_conv_in else h
    return h


@torch.compiler.disable(recursive=False)
def after_transformer(layer, x, emb, context, transformer_options, *rest):
    """Run the spatial transformer as the host does, then the motion modules of its block.

    A layer patch.
    """
    active: ActiveMotion | None = transformer_options.get(ACTIVE)
    if active is None:
        return _run_host_layer(layer, x, emb, context, transformer_options, *rest)
    with active.joint_norm.pause() if active.joint_norm else nullcontext():
        x = _run_host_layer(layer, x, emb, context, transformer_options, *rest)
        return _run_modules(x, emb, active.after_transformer, transformer_options)


@torch.compiler.disable(recursive=False)
def after_residual(layer, x, emb, context, transformer_options, *rest):
    """Run the residual block as the host does, then the motion modules of blocks without attention.

    A layer patch.
    """
    x = _run_host_layer(layer, x, emb, context, transformer_options, *rest)
    active: ActiveMotion | None = transformer_options.get(ACTIVE)
    if active is None or layer.updown:
        return x
    with active.joint_norm.pause() if active.joint_norm else nullcontext():
        return _run_modules(x, emb, active.after_residual, transformer_options)


@torch.compiler.disable(recursive=False)
def _run_modules(x, emb, modules, transformer_options):
    options = transformer_options if ATTENTION_OVERRIDE in transformer_options else {}
    observer: Observer | None = transformer_options.get(OBSERVER)
    taps = (*transformer_options.get(ATTENTION_TAPS, ()), *(observer.taps if observer else ()))
    for active in modules.get(transformer_options["block"], ()):
        throw_exception_if_processing_interrupted()  # one evaluation may hold many windows
        x = x if active.features is None else x + fit_size(active.features, x)
        inputs = replace(active.inputs, host_options=options, time_embedding=emb)
        scale, strength = (field and field.on(x) for field in (active.attention_scale, active.strength))
        seen = taps if scale is None else (QueryScale(TokenField(scale, x, inputs.frames)), *taps)
        if seen or active.loras:
            batch = _batch_contents(transformer_options, len(x), inputs.frames)
            inputs = replace(inputs, taps=ModuleTaps(seen, active.module, active.owner, active.site, batch))
        module = active.module if strength is None else ScaledModule(active.module, strength)
        if active.loras:
            module = partial(_run_with_loras, module, active)
        if observer is None:
            x = module(x, inputs)
        else:
            x = observer.watch(active.owner, active.site, module, x, inputs, transformer_options)
        if MOTION_RUN in transformer_options:
            transformer_options[MOTION_RUN].executed = True
    return x


@torch.compiler.disable()
def _run_with_loras(module: Module, active: ActiveModule, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
    """Run a module uncompiled, since torch.compile does not see hooks that come and go."""
    assert inputs.taps is not None
    with add_low_rank_parts(active.loras, active.module, active.site, x, inputs.taps, inputs.frames):
        return module(x, inputs)


def _batch_contents(transformer_options: dict, batch: int, frames: int) -> BatchContents:
    numbers = frame_numbers(transformer_options, batch, frames)
    windows = tuple(tuple(numbers[start : start + frames]) for start in range(0, batch, frames))
    clips = len(list_call_frames(transformer_options, frames)) // frames  # of each cond
    kinds = [kind for kind in transformer_options.get("cond_or_uncond", (0,)) for _ in range(clips)]
    # Nodes that evaluate tiles at once repeat the whole batch for each tile.
    chunk_kinds = tuple(kinds[place % len(kinds)] for place in range(len(windows)))
    return BatchContents(windows, chunk_kinds, transformer_options.get("sigmas"))


@torch.compiler.disable(recursive=False)
def _run_host_layer(layer, x, emb, context, transformer_options, *rest):
    """Run `layer` as the host would without the patches of this pack."""
    for layer_class, handler in transformer_options["patches"][LAYER_PATCHES]:
        if isinstance(layer, layer_class) and handler not in (after_transformer, after_residual):
            return _call_uncompiled(handler, layer, x, emb, context, transformer_options, *rest)
    if isinstance(layer, ResBlock):
        return layer(x, emb)
    x = _call_uncompiled(layer, x, context, transformer_options)
    if "transformer_index" in transformer_options:
        transformer_options["transformer_index"] += 1
    return x


@torch.compiler.disable()
def _call_uncompiled(function, *arguments):
    return function(*arguments)
