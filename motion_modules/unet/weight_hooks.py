"""Hooks of the host that change weights of motion models, per conditioning and per step.

The host's own weight hooks reach the UNet only. Before each evaluation, the motion models that run in
it, which are additional models, are patched by the hooks that the host has on the UNet. Nothing is
cached, so that no dense copy of a patched weight stays.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from comfy.hooks import EnumHookMode, EnumHookType, EnumWeightTarget, HookGroup, WeightHook
from comfy.model_patcher import ModelPatcher, ModelPatcherDynamic
from comfy.patcher_extension import CallbacksMP

from ..run_state import APPLIED
from .applied import AppliedMotion, applied_motion


class MotionWeightHook(WeightHook):
    """A hook of the host on the weights of motion models; the host makes copies by a call without arguments."""

    @abstractmethod
    def add_patches(self, weights: ModelPatcher) -> None:
        """Add the host's patches of this hook to a motion model, none where it does not fit."""

    @abstractmethod
    def require_match(self, model: ModelPatcher, motions: tuple[AppliedMotion, ...]) -> None:
        """Raise MotionModelError unless the hook fits one of the `motions` on `model`."""

    def add_hook_patches(
        self, model: ModelPatcher, model_options: dict, target_dict: dict, registered: HookGroup
    ) -> bool:
        """Register the hook before sampling. The host calls this, also for text encoders, which it leaves alone."""
        if target_dict.get("target") != EnumWeightTarget.Model:
            return False
        motions = applied_motion(model.model_options)
        self.require_match(model, motions)
        for motion in motions:
            _use_patchable_weights(model, motion.key)
        registered.add(self)
        return True


def register_weight_hooks(model: ModelPatcher) -> None:
    """Put the callbacks on `model`, which should be a clone with its first motion model."""
    for kind, callback in (
        (CallbacksMP.ON_PREPARE_STATE, follow_keyframes),
        (CallbacksMP.ON_CLEANUP, remove_weight_hooks),
    ):
        model.add_callback_with_key(kind, APPLIED, callback)


def follow_keyframes(patcher: ModelPatcher, *_: Any) -> None:
    """Unpatch motion models where the host has unpatched the UNet, since the strength of a hook changed."""
    if patcher.current_hooks is None:
        for weights in _list_motion_weights(patcher):
            weights.unpatch_hooks()


def follow_hooks(
    weights: ModelPatcher, hooks: HookGroup | None, patched: dict[torch.nn.Module, ModelPatcher] | None = None
) -> None:
    """Change a motion model for an evaluation with these `hooks`; `patched` remembers who changed it in a run.

    DualModelGuider evaluates two models in turn, with hooks of their own. They run the same motion
    modules where the second has none, and where both have the same motion model.
    """
    if patched is not None:
        last = patched.get(weights.model, weights)
        if last is not weights:
            last.unpatch_hooks()
        patched[weights.model] = weights
    if weights.current_hooks == hooks:
        return
    if hooks is None:
        weights.unpatch_hooks()
    else:
        _patch(weights, hooks)


def _patch(weights: ModelPatcher, hooks: HookGroup) -> None:
    for hook in hooks.get_type(EnumHookType.Weight):
        if isinstance(hook, MotionWeightHook) and hook.hook_ref not in weights.hook_patches:
            hook.add_patches(weights)
    weights.set_hook_mode(EnumHookMode.MinVram)
    weights.patch_hooks(hooks)


def remove_weight_hooks(patcher: ModelPatcher) -> None:
    """Restore the weights of the motion models on `patcher` after a run, also one that failed."""
    for weights in _list_motion_weights(patcher):
        weights.clean_hooks()
        weights.hook_patches.clear()


def _list_motion_weights(patcher: ModelPatcher) -> Iterator[ModelPatcher]:
    for motion in applied_motion(patcher.model_options):
        yield from patcher.get_additional_models_with_key(motion.key)


def _use_patchable_weights(model: ModelPatcher, key: str) -> None:
    """Replace patchers that page weights in, which hooks cannot patch, as the host does with the UNet's."""
    patchers = model.get_additional_models_with_key(key)
    if any(isinstance(patcher, ModelPatcherDynamic) for patcher in patchers):
        model.set_additional_models(key, [_make_patchable(patcher) for patcher in patchers])


def _make_patchable(patcher: ModelPatcher) -> ModelPatcher:
    return patcher.get_non_dynamic_delegate() if isinstance(patcher, ModelPatcherDynamic) else patcher
