"""The motion models that are applied to a MODEL, as its `transformer_options` hold them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher

from ..adapters.adapter import Adapter, AdapterCondition, AdapterSpec
from ..adapters.conditions import require_condition
from ..errors import LoomError
from ..families import Family
from ..frame_positions import AS_TRAINED, FramePositions
from ..motion_model import AppliedLora, ModuleSpec
from ..noise_schedule import is_between
from ..run_state import APPLIED
from .low_rank import FactorCopies, VaryingLora
from .sites import Site
from .variation import ClipFields, Variation, scale_at_sigma


@dataclass(frozen=True)
class MotionSettings:
    """Strength of a motion model, and its range in percent of the sampling schedule.

    `motion_strength` and `motion_attention_scale` multiply the two scalars where they vary.
    """

    strength: float = 1.0
    attention_scale: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    motion_strength: Variation | None = None
    motion_attention_scale: Variation | None = None
    positions: FramePositions = AS_TRAINED

    @property
    def has_progress_curve(self) -> bool:
        """Return whether the strength changes over sampling."""
        return self.motion_strength is not None and self.motion_strength.changes_over_sampling

    def strength_at(self, sigma: float | torch.Tensor, model_sampling) -> float:
        """Return the strength that all sites, frames and places share at `sigma`."""
        return self.strength * scale_at_sigma(self.motion_strength, sigma, model_sampling)

    def attention_scale_at(self, sigma: float | torch.Tensor, model_sampling) -> float:
        return self.attention_scale * scale_at_sigma(self.motion_attention_scale, sigma, model_sampling)


class MotionHistory:
    """The samplers that a motion model was part of, and whether it ran there.

    It lives as long as the output of Apply Motion Model, which the host keeps between prompts for as
    long as it keeps the results of samplers that depend on it.
    """

    def __init__(self):
        self._ran: dict[int | None, bool] = {}
        self._advice: dict[str | None, str] = {}

    def record(self, sampler: int | None, ran: bool) -> None:
        """Record that the motion model ran, or was off, in a sampler with this signature; None is unknown."""
        self._ran[sampler] = ran or self._ran.get(sampler, False)

    def ran_in(self, sampler: int | None) -> bool | None:
        """Return whether the motion model ran in a sampler, None if that has not sampled yet."""
        return self._ran.get(sampler)

    def is_new_advice(self, node_id: str | None, text: str) -> bool:
        """Record `text` as the advice for the sampler with this id; return whether it differs from the last one."""
        is_new = self._advice.get(node_id, "") != text
        self._advice[node_id] = text
        return is_new

    def ran_anywhere(self) -> bool:
        return any(self._ran.values())


@dataclass(frozen=True)
class AppliedMotion:
    """A motion model on a patcher, whose additional models hold its weights under `key`.

    `specs` holds the spec of each module, under the names of the `sites`. `site_strengths` and
    `site_attention_scales` have the factors of sites at which they vary, empty where they do not.
    """

    key: str
    name: str
    positions: int
    joint_unet_norm: bool
    settings: MotionSettings
    sites: Mapping[str, Site]
    specs: Mapping[str, ModuleSpec]
    site_strengths: Mapping[str, float] = field(default_factory=dict)
    site_attention_scales: Mapping[str, float] = field(default_factory=dict)
    family: Family | None = None
    loras: tuple[AppliedLora, ...] = ()
    adapters: tuple[AdapterSpec, ...] = ()
    conditions: Mapping[str, AdapterCondition] = field(default_factory=dict)
    varying_loras: tuple[VaryingLora, ...] = ()
    history: MotionHistory = field(default_factory=MotionHistory, compare=False, repr=False)

    def acts_at(self, sigma: float, model_sampling) -> bool:
        start, end = self.settings.start_percent, self.settings.end_percent
        return is_between(start, end, sigma, model_sampling) and self.settings.strength_at(sigma, model_sampling) != 0

    def find_condition(self, adapter: Adapter, options: Mapping[str, Any]) -> AdapterCondition:
        """Return the condition of `adapter`, which came with the motion model or is in the host's `options`.

        Raise LoomError where there is none.
        """
        return self.conditions.get(adapter.key) or require_condition(options, adapter, self.name)

    def check_size(self, frames: int, height: int, width: int) -> None:
        """Raise LoomError when a module cannot process `frames` latents of this size at once."""
        for name, site in self.sites.items():
            objection = self.specs[name].objection(site.clip(frames, height, width))
            if objection:
                raise LoomError(
                    f"Motion model '{self.name}' cannot work at '{name}' in this latent, since {objection}. "
                    "Make the latent smaller, or use a motion model without a module there."
                )

    @property
    def variations(self) -> tuple[Variation, ...]:
        """Return what varies over a clip: strength, attention scale, and strengths of motion LoRAs."""
        of_motion = (self.settings.motion_strength, self.settings.motion_attention_scale)
        return tuple(filter(None, (*of_motion, *(lora.variation for lora in self.varying_loras))))

    @property
    def acts_always(self) -> bool:
        settings = self.settings
        return settings.start_percent <= 0 and settings.end_percent >= 1 and not settings.has_progress_curve


class MotionRun:
    """A run of a guider: its patcher, the frames and size of its latent, and whether any motion module has run.

    `has_areas`: whether a prompt has an area, for which the host evaluates a part of the latent.
    """

    def __init__(self, patcher: ModelPatcher, frames: int, size: tuple[int, int], has_areas: bool = False):
        self.patcher, self.frames, self.size, self.has_areas = patcher, frames, size, has_areas
        self.fields, self.factors = ClipFields(frames), FactorCopies()
        self.patched: dict[torch.nn.Module, ModelPatcher] = {}  # by modules, whose weights hooks of this run changed
        self.executed = False
        self._checked: set[tuple] = set()
        self._memories: dict[tuple[str, str], dict[str, Any]] = {}

    def remember(self, motion: str, adapter: str) -> dict[str, Any]:
        """Return what an adapter of an applied motion model keeps for this run, by their keys."""
        return self._memories.setdefault((motion, adapter), {})

    def check_size(self, motion: AppliedMotion, *size: int) -> None:
        """Check each size `[frames, height, width]` once, which other nodes may make of the latent."""
        if (motion.key, size) not in self._checked:
            motion.check_size(*size)
            self._checked.add((motion.key, size))


def applied_motion(model_options: dict) -> tuple[AppliedMotion, ...]:
    """Return the motion models that are applied, in the order in which they run."""
    return model_options.get("transformer_options", {}).get(APPLIED, ())


def require_motion(model_options: dict, node: str) -> tuple[AppliedMotion, ...]:
    """Return the motion models that are applied; raise LoomError where there is none for `node` to act on."""
    motions = applied_motion(model_options)
    if not motions:
        raise LoomError(
            f"The model has {node}, but no motion model acts on it. Connect Apply Motion Model (AnimateDiff) with a "
            f"strength above 0, or remove {node}."
        )
    return motions
