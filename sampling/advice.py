"""Advice before a run: settings with which clips look bad, and why. Nothing is refused."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ..motion_modules.beta_schedules import BETA_SCHEDULES
from ..motion_modules.families import SD15, SDXL, Family
from ..motion_modules.recipes import Recipe, find_recipe
from ..motion_modules.unet.applied import AppliedMotion
from .running_prompt import RunningPrompt

APPLY, WINDOWS = "Apply Motion Model (AnimateDiff)", "Apply Context Windows (AnimateDiff)"
SCHEDULE_TOLERANCE = 0.02  # relative difference of the largest noise level
LOW_DENOISE = 0.7
HARDLY_DIFFERENT = 1e-6
V2, LIGHTNING = "AnimateDiff v2", "AnimateDiff-Lightning"
V3_ADAPTER, V3 = "v3_sd15_adapter", "AnimateDiff v3"


@dataclass(frozen=True)
class SamplingFacts:
    """Facts about a run to come: `latent` of the sampler, `sigmas` of its steps, and settings that are known.

    `attended` is the number of frames that the model sees at once, and `windowed` tells whether
    windows divide the clip. `loras` says whether the checkpoint has any LoRA.
    """

    latent: torch.Tensor
    sigmas: torch.Tensor
    model_sampling: Any
    attended: int | None = None
    windowed: bool = False
    loras: bool = False
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    denoise: float | None = None
    vae: str | None = None
    lora_file: str | None = None

    @property
    def frames(self) -> int:
        return len(self.latent)


def give_advice(motions: tuple[AppliedMotion, ...], facts: SamplingFacts, prompt: RunningPrompt | None) -> None:
    """Log advice, once per change of it, and show it on the nodes that applied the motion models."""
    lines = [f"{motion.name}: {line}" for motion in motions for line in list_advice(motion, facts)]
    text = "\n".join(dict.fromkeys(lines))
    is_new = bool(motions) and motions[0].history.is_new_advice(prompt.node_id if prompt else None, text)
    if text and is_new:
        logging.warning(f"Advice for the motion model (sampling goes on):\n{text}")
    if prompt is not None:
        prompt.show(text)


def list_advice(motion: AppliedMotion, facts: SamplingFacts) -> list[str]:
    """Return sentences about what will look bad, each with a remedy; empty where all is as in training."""
    family = motion.family
    if family is None:
        return []
    recipe = find_recipe(family.name)
    advice = [*_check_frames(motion, family, facts), *_check_files(motion, family, recipe, facts)]
    advice += [*_check_schedule(family, facts), *_check_start(facts)]
    return advice if recipe is None else [*advice, *_check_sampler(family, recipe, facts)]


def _check_frames(motion: AppliedMotion, family: Family, facts: SamplingFacts) -> Iterator[str]:
    trained, attended = family.trained_frames, facts.attended
    if attended is None or motion.settings.positions.changes:
        return
    if attended > trained and facts.windowed:
        yield (
            f"windows have {attended} frames, but training had {trained}, so motion slows down or blurs. "
            f"Set `context_length` of {WINDOWS} to {trained}."
        )
    elif attended > trained:
        yield (
            f"the model sees {attended} frames at once, but training had {trained}, so motion slows down or blurs. "
            f"Add {WINDOWS} with `context_length` {trained}."
        )
    elif 2 * attended < trained and facts.frames >= attended:
        yield f"the model sees only {attended} frames at once, and moves little. Use {trained} as in training."


def _check_files(motion: AppliedMotion, family: Family, recipe: Recipe | None, facts: SamplingFacts) -> Iterator[str]:
    for lora in motion.loras:
        if lora.is_partial:
            yield (
                f"only {lora.matched} of {lora.layers} layers of motion LoRA '{lora.name}' exist here, so it was made "
                "for another family. Use it with that family's motion model."
            )
    if recipe and recipe.needs_lora and not facts.loras:
        yield f"{family.name} needs its LoRA on the checkpoint, which has none. Add Load LoRA after Load Checkpoint."
    if facts.lora_file and V3_ADAPTER in facts.lora_file and family.name != V3:
        yield f"'{facts.lora_file}' is the adapter of {V3}, not of {family.name}. Remove that Load LoRA."
    other = {SD15: SDXL, SDXL: SD15}.get(family.base, "")
    if facts.vae and other == SDXL and "xl" in facts.vae.lower():
        yield f"'{facts.vae}' looks like a VAE of SDXL, but the base is {family.base}. Use the checkpoint's own VAE."
    if facts.vae and other == SD15 and any(part in facts.vae.lower() for part in ("mse-840000", "ema-560000", "sd15")):
        yield f"'{facts.vae}' looks like a VAE of SD1.5, but the base is {family.base}. Use the checkpoint's own VAE."


def _check_schedule(family: Family, facts: SamplingFacts) -> Iterator[str]:
    schedule = BETA_SCHEDULES.get(family.beta_schedule)
    largest = float(getattr(facts.model_sampling, "sigma_max", 0.0))
    if schedule is None or not largest:
        return
    trained = float(schedule.sigmas()[-1])
    if abs(largest / trained - 1) > SCHEDULE_TOLERANCE:
        yield (
            f"the noise schedule ends at sigma {largest:.1f}, but '{family.beta_schedule}' of the training at "
            f"{trained:.1f}, so the clip is grey or washed out. Set `beta_schedule` of {APPLY} to auto, and put "
            "ModelSampling nodes before it."
        )


def _check_start(facts: SamplingFacts) -> Iterator[str]:
    if facts.denoise is None or facts.denoise >= LOW_DENOISE or facts.frames < 2 or not facts.latent.count_nonzero():
        return
    if float((facts.latent - facts.latent[:1]).abs().max()) < HARDLY_DIFFERENT:
        yield f"a repeated picture hardly moves with `denoise` {facts.denoise:g}. Raise it to 0.75 or more."


def _check_sampler(family: Family, recipe: Recipe, facts: SamplingFacts) -> Iterator[str]:
    if family.name == V2 and facts.cfg is not None and facts.cfg <= 2 and len(facts.sigmas) <= 9:
        yield f"these are settings of {LIGHTNING}, whose files look like v2. Choose that `family` on Load Motion Model."
        return
    if recipe.is_distilled and facts.sampler and facts.sampler not in recipe.samplers:
        yield f"{family.name} is distilled for sampler {recipe.samplers[0]}, not {facts.sampler}."
    if recipe.is_distilled and facts.scheduler and facts.scheduler not in recipe.schedulers:
        yield f"{family.name} is distilled for scheduler {recipe.schedulers[0]}, not {facts.scheduler}."
    steps, (fewest, largest_count) = len(facts.sigmas) - 1, recipe.step_range
    whole_run = facts.denoise is None or facts.denoise >= 1
    if whole_run and (steps > largest_count or (steps < fewest and _ends_clean(facts.sigmas))):
        yield f"{steps} steps are {'few' if steps < fewest else 'many'} for {family.name}. Use about {recipe.steps}."
    least, largest = recipe.cfg_range
    if facts.cfg is not None and not least <= facts.cfg <= largest:
        effect = "burnt colours" if facts.cfg > largest else "weak prompts and pale pictures"
        yield f"`cfg` {facts.cfg:g} gives {effect} with {family.name}. Use about {recipe.cfg:g}."


def _ends_clean(sigmas: torch.Tensor) -> bool:
    """Return whether the sampler does all steps down to no noise, and is not one half of a split one."""
    return len(sigmas) > 1 and float(sigmas[-1]) == 0
