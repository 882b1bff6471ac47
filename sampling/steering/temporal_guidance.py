"""Temporal guidance: guide away from the prediction without motion, which one more pass of the model gives.

The guided prediction is D + scale * (D_cond - D_still), with D the host's result, D_cond the
prediction for the prompt, and D_still the same with motion strength 0. The node Temporal Guidance
calls `add_temporal_guidance`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy.samplers import calc_cond_batch

from ...motion_modules.errors import require_finite
from ...motion_modules.noise_schedule import is_between, require_range
from ...motion_modules.run_state import APPLIED, TEMPORAL_GUIDANCE, add_wrapper_once
from ...motion_modules.unet.applied import require_motion


@dataclass(frozen=True)
class TemporalGuidance:
    """Guidance by `scale` in a range of the noise schedule, as a post-CFG function of the host."""

    scale: float
    start_percent: float = 0.0
    end_percent: float = 1.0

    def __call__(self, args: dict[str, Any]) -> torch.Tensor:
        model, sigma = args["model"], args["sigma"]
        if not is_between(self.start_percent, self.end_percent, float(sigma.max()), model.model_sampling):
            return args["denoised"]
        options = args["model_options"]
        still = {**options, "transformer_options": {**options["transformer_options"], APPLIED: ()}}
        (without_motion,) = calc_cond_batch(model, [args["cond"]], args["input"], sigma, still)
        return args["denoised"] + self.scale * (args["cond_denoised"] - without_motion)


def add_temporal_guidance(model: ModelPatcher, guidance: TemporalGuidance) -> ModelPatcher:
    """Return a clone of `model` with this guidance, after others that it has; with scale 0, without it."""
    require_finite(guidance)
    require_range(guidance.start_percent, guidance.end_percent)
    clone = model.clone()
    if guidance.scale:
        clone.set_model_sampler_post_cfg_function(guidance)
        add_wrapper_once(clone, WrappersMP.OUTER_SAMPLE, TEMPORAL_GUIDANCE, refuse_without_motion)
    return clone


def refuse_without_motion(executor, *args, **kwargs):
    """Wrapper of the host's guider: refuse guidance without a motion model, which would double the time for nothing."""
    require_motion(executor.class_obj.model_options, "Temporal Guidance")
    return executor(*args, **kwargs)
