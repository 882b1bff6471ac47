"""Sampler settings that the families of motion models want, from their reference implementations."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Settings to begin with, and the range outside of which clips look bad.

    `samplers` and `schedulers` begin with the usual one; others than these look bad only where
    `is_distilled`. `size` is the width and height of the training in pixels, where another one than
    the base model's helps. `remark` is what no setting can say.
    """

    samplers: tuple[str, ...] = ("euler",)
    schedulers: tuple[str, ...] = ("normal",)
    steps: int = 25
    step_range: tuple[int, int] = (12, 100)
    cfg: float = 7.5
    cfg_range: tuple[float, float] = (3.0, 15.0)
    is_distilled: bool = False
    needs_lora: bool = False
    attention_scale: float = 1.0
    size: tuple[int, int] | None = None
    remark: str = ""

    def describe(self) -> str:
        """Return the settings by the names of inputs of nodes."""
        settings = (
            f"sampler_name {self.samplers[0]}, scheduler {self.schedulers[0]}, steps {self.steps}, cfg {self.cfg:g}"
        )
        if self.attention_scale != 1:
            settings += f", attention_scale {self.attention_scale:g}"
        return settings + (f", width {self.size[0]}, height {self.size[1]}" if self.size else "")

    def describe_needs(self) -> str:
        """Return what a distilled family wants besides, or an empty string."""
        if not self.is_distilled:
            return ""
        (fewest, largest_count), (least, largest) = self.step_range, self.cfg_range
        needs = f"{fewest} to {largest_count} steps and CFG {least:g} to {largest:g}"
        return "; ".join(filter(None, (needs, "its LoRA on the checkpoint" if self.needs_lora else "", self.remark)))


_USUAL = Recipe()
_RECIPES = {
    "AnimateDiff v1": _USUAL,
    "AnimateDiff v2": _USUAL,
    "AnimateDiff v3": _USUAL,
    "LongAnimateDiff": Recipe(attention_scale=1.15),
    "PIA": _USUAL,
    "AnimateDiff-SDXL beta": Recipe(steps=30, cfg=8.5, size=(1024, 1024)),
    "Hotshot-XL": Recipe(samplers=("euler_ancestral",), steps=30, size=(672, 384)),
    "AnimateDiff-Lightning": Recipe(
        schedulers=("sgm_uniform", "simple"),
        steps=4,
        step_range=(1, 8),
        cfg=1.0,
        cfg_range=(1.0, 2.5),
        is_distilled=True,
        remark="as many steps as the file's name says",
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
    "AnimateLCM-I2V": Recipe(
        samplers=("lcm",),
        schedulers=("sgm_uniform", "simple", "normal", "beta"),
        steps=4,
        step_range=(2, 8),
        cfg=1.0,
        cfg_range=(1.0, 2.0),
        is_distilled=True,
        needs_lora=True,
        remark="`reference_drift` 0.8, less for more likeness",
    ),
}


def find_recipe(family: str) -> Recipe | None:
    """Return the recipe of a published family, None for motion models of other training."""
    return _RECIPES.get(family)
