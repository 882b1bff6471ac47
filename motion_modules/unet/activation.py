"""The motion modules that run in one evaluation of the UNet, with the inputs of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from comfy.model_patcher import ModelPatcher
from torch import nn

from ..adapters.adapter import AdapterCondition, AdapterEffects, AdapterInputs
from ..contract import WHOLE, AddedFeatures, MotionInputs
from ..errors import LoomError, MotionModelError
from ..run_state import MOTION_RUN, TILE, WINDOWING, frame_numbers, list_window_frames
from ..tile import Tile
from .applied import AppliedMotion, MotionRun
from .frame_norm import JointFrameNorm
from .low_rank import ActiveLora, FactorCopies, VaryingLora
from .sites import Block, Site
from .variation import BatchField, ClipFields, Variation, scale_at_sigma
from .weight_hooks import follow_hooks


class ActiveModule(NamedTuple):
    """A module of the applied motion model with the key `owner`; `site` is its name in motion model files.

    `strength` and `attention_scale` multiply those of `inputs`, where they vary over frames or places.
    `loras` are evaluated beside its layers. `features` of an adapter are added to what it receives.
    """

    owner: str
    site: str
    module: nn.Module
    inputs: MotionInputs
    strength: BatchField | None = None
    attention_scale: BatchField | None = None
    loras: tuple[ActiveLora, ...] = ()
    features: torch.Tensor | None = None


class ActiveAdapter(NamedTuple):
    """An adapter of the applied motion model with the key `owner`, its condition, and its inputs."""

    owner: str
    module: nn.Module
    condition: AdapterCondition
    inputs: AdapterInputs

    def start(self, x: torch.Tensor) -> AdapterEffects:
        """Return its effects in the evaluation of `x`, as the UNet receives it."""
        return self.module(self.condition, replace(self.inputs, x=x))


@dataclass(frozen=True)
class ActiveMotion:
    """The modules to run in one evaluation of the UNet, with their inputs: for every block, in order.

    `effects` are those of the `adapters`, once the evaluation has begun.
    """

    after_transformer: Mapping[Block, tuple[ActiveModule, ...]]
    after_residual: Mapping[Block, tuple[ActiveModule, ...]]
    joint_norm: JointFrameNorm | None = None
    adapters: tuple[ActiveAdapter, ...] = ()
    effects: tuple[AdapterEffects, ...] = ()

    def start(self, x: torch.Tensor) -> "ActiveMotion":
        """Return the same with the effects of the adapters in the evaluation of `x`, as the UNet receives it."""
        if not self.adapters:
            return self
        effects = tuple(each.start(x) for each in self.adapters)
        by_owner = [(adapter.owner, each) for adapter, each in zip(self.adapters, effects, strict=True)]
        before = {(owner, site): each for owner, of in by_owner for site, each in of.before_modules.items()}
        added = {(owner, site): each for owner, of in by_owner for site, each in of.in_modules.items()}
        return replace(
            self,
            after_transformer=_add_features(self.after_transformer, before, added),
            after_residual=_add_features(self.after_residual, before, added),
            effects=effects,
        )


Blocks = Mapping[Block, tuple[ActiveModule, ...]]
Entry = tuple[Site, ActiveModule]
Place = tuple[str, str]  # the owner of a module, and its site


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of the UNet of `base_model` on latents `x`, whose clips have `frames`.

    `sigma` is the noise level, and `options` are the host's `transformer_options`.
    """

    base_model: Any
    x: torch.Tensor
    sigma: torch.Tensor
    frames: int
    options: Mapping[str, Any]

    @property
    def run(self) -> MotionRun | None:
        return self.options.get(MOTION_RUN)

    @property
    def tile(self) -> Tile | None:
        return self.options.get(TILE)

    def activate(self, acting: Sequence[AppliedMotion]) -> ActiveMotion:
        """Return the modules of the motion models that act. Raise LoomError where their strength cannot follow."""
        entries = [entry for motion in acting for entry in self._list_modules(motion)]
        joint = JointFrameNorm(self.frames) if any(motion.joint_unet_norm for motion in acting) else None
        adapters = tuple(each for motion in acting for each in self._list_adapters(motion))
        return replace(group_by_block(entries, joint), adapters=adapters)

    def _list_adapters(self, motion: AppliedMotion) -> list[ActiveAdapter]:
        if not motion.adapters:
            return []
        modules = find_weights(motion, self._list_patchers()).model.by_adapter
        numbers = frame_numbers(self.options, len(self.x), self.frames)
        clip_frames = self.run.frames if self.run else max(numbers) + 1
        active: list[ActiveAdapter] = []
        for adapter in (spec.adapter for spec in motion.adapters):
            condition = motion.find_condition(adapter, self.options)
            self._require_frame_numbers(clip_frames, f"The input of {adapter.name} differs between frames")
            if self.run:
                self._require_size(self.run.size, f"The input of {adapter.name}", "that input")
            memory = self.run.remember(motion.key, adapter.key) if self.run else {}
            inputs = AdapterInputs(self.x, numbers, clip_frames, self.tile, memory)
            active.append(ActiveAdapter(motion.key, modules[adapter.key], condition, inputs))
        return active

    def _list_modules(self, motion: AppliedMotion) -> list[Entry]:
        """Return the modules of a motion model, without those of strength 0."""
        weights, settings = find_weights(motion, self._list_patchers()), motion.settings
        hooks = getattr(self.base_model.current_patcher, "current_hooks", None)
        follow_hooks(weights, hooks, self.run.patched if self.run else None)
        modules = weights.model.by_site
        model_sampling = self.base_model.model_sampling
        inputs = MotionInputs(
            self.frames,
            settings.strength_at(self.sigma, model_sampling),
            settings.attention_scale_at(self.sigma, model_sampling),
            views=self.options.get(WINDOWING, WHOLE).views,
            positions=settings.positions,
        )
        fields = (self._make_field(settings.motion_strength), self._make_field(settings.motion_attention_scale))
        loras = [self._activate_lora(lora) for lora in motion.varying_loras]
        return [
            (site, ActiveModule(motion.key, name, modules[name], scaled, *fields, _select_loras(loras, name)))
            for name, site in motion.sites.items()
            if (scaled := _scale_inputs(inputs, motion, name)).strength
        ]

    def _activate_lora(self, lora: VaryingLora) -> dict[str, ActiveLora]:
        """Return a motion LoRA as it acts in this evaluation, by site; without those of strength 0."""
        strength = lora.strength * scale_at_sigma(lora.variation, self.sigma, self.base_model.model_sampling)
        by_place = self._make_field(lora.variation)
        copies = self.run.factors if self.run else FactorCopies()
        return {
            site: ActiveLora(lora.name, parts, scaled, by_place, copies)
            for site, parts in lora.parts.items()
            if (scaled := strength * lora.site_strengths[site])
        }

    def _list_patchers(self) -> list[ModelPatcher]:
        """Return the patchers that may hold weights: DualModelGuider shares options between its models, not weights."""
        return [self.base_model.current_patcher, *([self.run.patcher] if self.run else [])]

    def _make_field(self, variation: Variation | None) -> BatchField | None:
        if variation is None:
            return None
        numbers = frame_numbers(self.options, len(self.x), self.frames)
        fields = self.run.fields if self.run else ClipFields(max(numbers) + 1)
        if variation.changes_over_frames:
            self._require_frame_numbers(fields.frames, "Motion Strength differs between frames")
        if variation.has_mask and self.run:
            self._require_size(self.run.size, "`mask` of Motion Strength", "the mask")
        return BatchField(variation, fields, numbers, self.tile)

    def _require_frame_numbers(self, clip_frames: int, cause: str) -> None:
        if self.frames != clip_frames and not list_window_frames(self.options):
            raise LoomError(
                f"{cause}, but another node divides the clip of {clip_frames} frames "
                f"into parts of {self.frames} and does not list which frames they hold. Use Apply Context Windows "
                "(AnimateDiff) instead."
            )

    def _require_size(self, latent: tuple[int, int], subject: str, removable: str) -> None:
        size = latent if self.tile is None else self.tile.size
        height, width = self.x.shape[-2:]
        if (height, width) != size:
            raise LoomError(
                f"{subject} covers a latent of {size[1]} x {size[0]}, but another node evaluates a part of "
                f"{width} x {height}, whose place is unknown. Remove {removable}, or the tiles or area "
                "of that node."
            )


def group_by_block(entries: Sequence[Entry], joint_norm: JointFrameNorm | None = None) -> ActiveMotion:
    """Return `entries` by the block of their site, in order."""
    by_layer: tuple[dict[Block, tuple[ActiveModule, ...]], dict[Block, tuple[ActiveModule, ...]]] = ({}, {})
    for site, active in entries:
        blocks = by_layer[0] if site.after_transformer else by_layer[1]
        blocks[site.block] = (*blocks.get(site.block, ()), active)
    return ActiveMotion(*by_layer, joint_norm)


def _add_features(blocks: Blocks, before: Mapping[Place, torch.Tensor], added: Mapping[Place, AddedFeatures]) -> Blocks:
    """Return `blocks` with the features before and in each module, by owner and site."""
    if not (before or added):
        return blocks
    return {
        block: tuple(
            each._replace(
                inputs=replace(each.inputs, added=added.get((each.owner, each.site))),
                features=before.get((each.owner, each.site)),
            )
            for each in modules
        )
        for block, modules in blocks.items()
    }


def find_weights(motion: AppliedMotion, patchers: Sequence[ModelPatcher]) -> ModelPatcher:
    """Return the patcher of a motion model's modules, from the first one that holds it."""
    for patcher in patchers:
        for weights in patcher.get_additional_models_with_key(motion.key):
            return weights
    raise MotionModelError(
        f"Motion model '{motion.name}' was applied to this model, which no longer carries its weights. "
        "Apply the motion model after the node that removed them."
    )


def _select_loras(loras: Sequence[Mapping[str, ActiveLora]], site: str) -> tuple[ActiveLora, ...]:
    return tuple(by_site[site] for by_site in loras if site in by_site)


def _scale_inputs(inputs: MotionInputs, motion: AppliedMotion, site: str) -> MotionInputs:
    strength, scale = motion.site_strengths.get(site, 1.0), motion.site_attention_scales.get(site, 1.0)
    if strength == scale == 1:
        return inputs
    return replace(inputs, strength=inputs.strength * strength, attention_scale=inputs.attention_scale * scale)
