"""Sampler settings that the families of motion models want, from their reference implementations."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Settings to begin with, and the range outside of which clips look bad.

    `samplers` and `schedulers` begin with the usual one; others than these look bad only where
    `is_distilled`.
    """

    samplers: tuple[str, ...] = ("euler",)
    schedulers: tuple[str, ...] = ("normal",)
    steps: int = 25
    step_range: tuple[int, int] = (12, 100)
    cfg: float = 7.5
    cfg_range: tuple[float, float] = (3.0, 15.0)
    is_distilled: bool = False
    needs_lora: bool = False

    def describe(self) -> str:
        """Return the settings by the names of the inputs of KSampler."""
        return f"sampler_name {self.samplers[0]}, scheduler {self.schedulers[0]}, steps {self.steps}, cfg {self.cfg:g}"


_USUAL = Recipe()
_RECIPES = {
    "AnimateDiff v1": _USUAL,
    "AnimateDiff v2": _USUAL,
    "AnimateDiff v3": _USUAL,
    "LongAnimateDiff": _USUAL,
    "PIA": _USUAL,
    "AnimateDiff-SDXL beta": Recipe(steps=30, cfg=8.5),
    "Hotshot-XL": Recipe(samplers=("euler_ancestral",), steps=30),
    "AnimateDiff-Lightning": Recipe(
        schedulers=("sgm_uniform", "simple"),
        steps=4,
        step_range=(1, 8),
        cfg=1.0,
        cfg_range=(1.0, 2.5),
        is_distilled=True,
    ),
    "AnimateLCM": Recipe(
        samplers=("lcm",),
        schedulers=("sgm_uniform", "simple", "normal", "beta"),
        steps=6,
        step_range=(2, 12),
        cfg=1.5,
        cfg_range=(1.0, 3.0),
        is_distilled=True,
        needs_lora=True,
    ),
}


def find_recipe(family: str) -> Recipe | None:
    """Return the recipe of a published family, None for motion models of other training."""
    return _RECIPES.get(family)
