"""Text summary of a motion model."""

from collections.abc import Collection

import torch

from .contract import UNLIMITED
from .families import Family
from .motion_model import MotionModel
from .recipes import Recipe, find_recipe


def describe(motion_model: MotionModel) -> str:
    """Return lines of `name: value`, for Motion Model Info and for bug reports."""
    family, specs, recipe = motion_model.family, motion_model.specs, find_recipe(motion_model.family.name)
    adapters = [spec.adapter for spec in motion_model.adapters if spec.adapter.key not in motion_model.conditions]
    weights = list(motion_model.patcher.model.parameters())
    count = sum(weight.numel() for weight in weights)
    size = sum(weight.numel() * weight.element_size() for weight in weights)
    facts = {
        "name": motion_model.name,
        "family": family.name,
        "recognised by": motion_model.reason,
        "base model": family.base,
        "sites": f"{len(specs)} ({_count_by_part(specs)})",
        "widths": ", ".join(str(width) for width in sorted({spec.channels for spec in specs.values()})),
        "architecture": ", ".join(sorted({spec.architecture.key for spec in specs.values()})),
        "frames": f"trained for {family.trained_frames}, {_format_positions(motion_model.positions)}",
        "normalisation": _describe_norms(family),
        "beta schedule": family.beta_schedule,
        "dtype": f"{_format_dtype(motion_model.file_dtype)}, loaded as {_format_dtype(weights[0].dtype)}",
        "size": f"{count / 1e6:.1f} million weights, {size / 2**20:.0f} MiB",
        "settings": _describe_settings(family, recipe),
        "advice": recipe.describe_needs() if recipe else "",
        "needs": "; ".join(f"{each.needs}, from {each.node}" for each in adapters),
        "motion LoRAs": "; ".join(lora.describe() for lora in motion_model.loras),
        "notes": "; ".join(motion_model.notes),
    }
    return "\n".join(f"{name}: {value}" for name, value in facts.items() if value)


def _describe_settings(family: Family, recipe: Recipe | None) -> str:
    """Return the usual settings by the names of inputs, to copy."""
    sampler = f"{recipe.describe()}, " if recipe else ""
    return f"{sampler}batch_size {family.trained_frames}, context_length {family.trained_frames}"


def _format_positions(positions: int) -> str:
    return "any number at once" if positions == UNLIMITED else f"up to {positions} at once"


def _count_by_part(sites: Collection[str]) -> str:
    prefixes = {"down": "down_blocks", "mid": "mid_block", "up": "up_blocks"}
    return ", ".join(f"{part} {sum(site.startswith(prefix) for site in sites)}" for part, prefix in prefixes.items())


def _describe_norms(family: Family) -> str:
    unet = "over all frames" if family.joint_unet_norm else "per frame"
    module = "over all frames" if family.joint_module_norm else "per frame"
    return f"residual blocks {unet}, motion modules {module}"


def _format_dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
