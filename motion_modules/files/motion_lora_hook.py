"""A motion LoRA as a hook of the host, for some conds and some steps only."""

from typing import Any

from comfy.hooks import HookGroup
from comfy.model_patcher import ModelPatcher

from ..errors import FileFault, MotionModelError, name_file_in_errors, require_finite
from ..motion_model import AppliedLora
from ..unet.applied import AppliedMotion
from ..unet.weight_hooks import MotionWeightHook
from .motion_lora import KIND, MotionLora, match_layers, report_partial_match


class MotionLoraHook(MotionWeightHook):
    """A motion LoRA that the host turns on for the conds and steps that its nodes set."""

    lora: MotionLora

    def clone(self) -> "MotionLoraHook":
        copy = super().clone()
        copy.lora = self.lora
        return copy

    def add_patches(self, weights: ModelPatcher) -> None:
        weights.add_hook_patches(self, self._match(weights), self._strength_model)

    def require_match(self, model: ModelPatcher, motions: tuple[AppliedMotion, ...]) -> None:
        if not motions:
            raise MotionModelError(
                f"Motion LoRA '{self.lora.name}' is a hook of a prompt, but no motion model acts on the sampled model. "
                "Connect Apply Motion Model (AnimateDiff) with a strength above 0, or remove Motion LoRA Hook."
            )
        weights = {motion.name: model.get_additional_models_with_key(motion.key)[0] for motion in motions}
        matches = {name: len(self._match(patcher)) for name, patcher in weights.items()}
        if not any(matches.values()):
            with name_file_in_errors(KIND, self.lora.name):
                match_layers(self.lora, *next(iter(weights.items())))
        for name, matched in matches.items():
            applied = AppliedLora(self.lora.name, self._strength_model, matched, len(self.lora.layers))
            report_partial_match(applied, name)

    def _match(self, weights: ModelPatcher) -> dict[str, Any]:
        """Return the patches of a motion model, none where the LoRA does not fit."""
        try:
            return match_layers(self.lora, "", weights)
        except FileFault:
            return {}


def create_motion_lora_hook(lora: MotionLora, strength: float) -> HookGroup:
    """Return a group of the host's hooks with one that adds `strength` times `lora` to motion models."""
    require_finite(AppliedLora(lora.name, strength, 0, len(lora.layers)))
    hooks, hook = HookGroup(), MotionLoraHook(strength_model=strength, strength_clip=0.0)
    hook.lora = lora
    hooks.add(hook)
    return hooks
