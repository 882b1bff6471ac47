"""The host's MODEL while its motion modules are trained: the noise that it predicts, with gradients.

A clip is evaluated as sampling does it, by the host's own `calc_cond_batch` with all patches of the
MODEL, in the host's memory management.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher, create_model_options_clone
from comfy.sampler_helpers import cleanup_models, convert_cond, prepare_model_patcher, prepare_sampling
from comfy.samplers import calc_cond_batch, process_conds
from torch.utils.checkpoint import checkpoint

from ..motion_modules.beta_schedules import BETA_SCHEDULES
from ..motion_modules.motion_model import MotionModel
from ..motion_modules.run_state import ACTIVE
from ..motion_modules.unet.applied import MotionSettings, applied_motion
from ..motion_modules.unet.frame_norm import JointFrameNorm
from ..motion_modules.unet.placement import LAYER_PATCHES
from ..sampling.animate import AS_THE_MODEL, animate
from ..sampling.model_sampling import set_beta_schedule
from .checkpointing import GradientCheckpointing

CONTEXT_HANDLER = "context_handler"


class NoisePredictor:
    """The model of a training run: `base` predicts noise for the `conds` that `loaded_for_training` prepared."""

    def __init__(self, base: BaseModel, conds: dict[str, list], options: dict[str, Any], device: torch.device):
        self.base, self.conds, self.options, self.device = base, conds, options, device

    @property
    def sigmas(self) -> torch.Tensor:
        """Return the noise levels of all timesteps, rising."""
        return self.base.model_sampling.sigmas

    def prepare_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Return latents of a VAE as the UNet gets them, `[frames, channels, height, width]`."""
        return self.base.process_latent_in(latents.to(self.device, torch.float32))

    def predict(self, clean: torch.Tensor, noise: torch.Tensor, sigma: float, cond: str) -> torch.Tensor:
        """Return the noise in `clean + sigma * noise`, all frames of one clip at one noise level.

        A model that predicts velocity is converted, so that the loss is that of the noise.
        """
        level = torch.full((len(clean),), sigma, device=self.device)
        noisy = clean + sigma * noise.to(clean)
        (denoised,) = calc_cond_batch(self.base, [self.conds[cond]], noisy, level, self.options)
        return (noisy - denoised) / sigma


def prepare_model(
    model: ModelPatcher, motion_model: MotionModel, precision: torch.dtype, checkpointing: bool
) -> tuple[ModelPatcher, ModelPatcher]:
    """Return a clone of `model` for training with `motion_model`, and the patcher of a copy of its motion modules.

    The clone has the full noise schedule of the motion model's family, and sees clips as a whole.
    Its motion modules are copies, and the UNet's weights, which it shares, are used through clones:
    weights that were loaded for inference only cannot take part in a backward pass. `checkpointing`
    saves memory: the backward pass runs every layer a second time.
    """
    clone = animate(model, motion_model, MotionSettings(), AS_THE_MODEL)
    schedule = BETA_SCHEDULES[motion_model.family.beta_schedule]
    clone = set_beta_schedule(clone, replace(schedule, lcm_timesteps=0))
    clone.model_options.pop(CONTEXT_HANDLER, None)
    if precision != clone.model.get_dtype_inference():
        clone.set_model_compute_dtype(precision)
    for motion in applied_motion(clone.model_options):
        copies = [copy_patcher(patcher) for patcher in clone.get_additional_models_with_key(motion.key)]
        clone.set_additional_models(motion.key, copies)
    (trained,) = clone.get_additional_models_with_key(applied_motion(clone.model_options)[-1].key)
    _clone_weights_on_use(clone)
    if checkpointing:
        _add_checkpointing(clone)
    return clone, trained


def copy_patcher(patcher: ModelPatcher) -> ModelPatcher:
    """Return a patcher with a copy of the weights of a motion model, and the same patches (LoRAs)."""
    assert patcher.cached_patcher_init is not None, "patchers of motion models can be built again"
    init = patcher.cached_patcher_init
    model = init[0](*init[1], disable_dynamic=True).model
    return patcher.clone(disable_dynamic=True, model_override=(model, ({}, {}, {}, set())))


@contextmanager
def loaded_for_training(
    model: ModelPatcher, conditionings: Mapping[str, list], latents: torch.Tensor
) -> Iterator[NoisePredictor]:
    """Load a model of `prepare_model` as for sampling `latents`, with CONDITIONINGs by name; release it afterwards."""
    conds = {name: [_copy_tensors(cond) for cond in convert_cond(each)] for name, each in conditionings.items()}
    options = create_model_options_clone(model.model_options)
    prepare_model_patcher(model, conds, options)
    base, conds, models = prepare_sampling(model, latents.shape, conds, options, force_full_load=True)
    try:
        model.pre_run()
        device = model.load_device
        conds = process_conds(base, latents.to(device), conds, device, latents.to(device), seed=0)
        yield NoisePredictor(base, conds, options, device)
    finally:
        model.cleanup()
        cleanup_models(conds, models)


def _clone_weights_on_use(model: ModelPatcher) -> None:
    for name, layer in model.model.diffusion_model.named_modules():
        if hasattr(layer, "weight_function"):
            for part, _ in layer.named_parameters(recurse=False):
                model.add_weight_wrapper(f"diffusion_model.{name}.{part}", torch.clone)


def _copy_tensors(cond: dict[str, Any]) -> dict[str, Any]:
    return {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in cond.items()}


def _add_checkpointing(model: ModelPatcher) -> None:
    """Let layers of the UNet and motion modules run again in the backward pass, instead of keeping their results."""
    patches = model.model_options["transformer_options"]["patches"]
    ours = [(SpatialTransformer, _checkpoint_transformer), (ResBlock, _checkpoint_residual)]
    patches[LAYER_PATCHES] = patches[LAYER_PATCHES] + ours
    for motion in applied_motion(model.model_options):
        for patcher in model.get_additional_models_with_key(motion.key):
            by_site = patcher.model.by_site
            by_site |= {site: GradientCheckpointing(module) for site, module in by_site.items()}


def _checkpoint_transformer(layer, x, emb, context, transformer_options, *_):
    """Run a spatial transformer as the host does. A layer patch."""
    result = checkpoint(layer, x, context, dict(transformer_options), use_reentrant=False)
    if "transformer_index" in transformer_options:
        transformer_options["transformer_index"] += 1
    return result


def _checkpoint_residual(layer, x, emb, context, transformer_options, *_):
    """Run a residual block as the host does, the second time too with its norms over all frames. A layer patch."""
    active = transformer_options.get(ACTIVE)
    joint = active and active.joint_norm
    again = JointFrameNorm(joint.frames) if joint else nullcontext()
    return checkpoint(layer, x, emb, use_reentrant=False, context_fn=lambda: (nullcontext(), again))
