"""Strength that varies over frames, sampling, places in the picture and sites: the value of MOTION_STRENGTH.

    s(frame, progress, y, x, site) = product over all nodes of
        strength * frame_curve(frame) * drawn_curve(frame / (frames - 1)) * level(frame)
        * progress_curve(progress) * mask(frame, y, x) * site_value(site)

An input that is not used counts as 1.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange

from ...motion_modules.errors import LoomError, require_finite, shorten
from ...motion_modules.tile import Tile
from ...motion_modules.unet.site_patterns import sites_like
from .curves import LARGEST, CurvePoint, WrittenPoint, draw_curve, evaluate_curve, place_points

SITES = "sites"  # the input of Motion Strength


@dataclass(frozen=True, eq=False)
class StrengthFactor:
    """The inputs of one Motion Strength node, checked as far as they can be without a clip and a motion model.

    `site_values` are patterns of sites with values; of those that match a site, the last one holds.
    `levels` hold one value per frame, of which 0 means `level_floor` and 1 means 1. `drawn_curve`
    maps 0 to 1, the first to the last frame, to a factor. `mask` is `[1 or frames, height, width]`.
    """

    strength: float = 1.0
    frame_curve: tuple[WrittenPoint, ...] = ()
    progress_curve: tuple[CurvePoint, ...] = ()
    site_values: tuple[tuple[str, float], ...] = ()
    levels: tuple[float, ...] = ()
    level_floor: float = 0.0
    drawn_curve: Callable[[float], float] | None = None
    mask: torch.Tensor | None = None

    def check(self) -> None:
        """Raise LoomError for a number that no clip can have: linked inputs ignore the limits of the node."""
        require_finite(self)
        for name, value in {"strength": self.strength, "level_floor": self.level_floor}.items():
            if not 0 <= value <= LARGEST:
                raise LoomError(f"`{name}` of Motion Strength is {value:g}. Use a value from 0 to {LARGEST:g}.")

    def check_frames(self, frames: int) -> None:
        """Raise LoomError for a number of levels or masks that is neither 1 nor `frames`, and for unordered points."""
        place_points(self.frame_curve, frames)
        if len(self.levels) not in (0, 1, frames):
            raise LoomError(
                f"`levels` of Motion Strength has {len(self.levels)} values, but the clip has {frames} frames. "
                f"Connect a list of {frames} values, or set `batch_size` of the latent to {len(self.levels)}."
            )
        if self.mask is not None and len(self.mask) not in (1, frames):
            raise LoomError(
                f"`mask` of Motion Strength has {len(self.mask)} frames, but the clip has {frames}. "
                f"Provide {frames} masks, or one for all frames."
            )

    def over_frames(self, frames: int) -> list[float]:
        """Return the factor of each frame of a clip; one for all where they do not differ by inputs."""
        factors = [[level * (1 - self.level_floor) + self.level_floor for level in self.levels]]
        if self.frame_curve:
            factors.append(draw_curve(self.frame_curve, frames))
        if self.drawn_curve is not None:
            factors.append([self.drawn_curve(frame / max(1, frames - 1)) for frame in range(frames)])
        factors = [values * (frames if len(values) == 1 else 1) for values in factors if values]
        return [prod(values) for values in zip(*factors, strict=True)] or [1.0]


@dataclass(frozen=True, eq=False)
class MotionStrength:
    """Value of MOTION_STRENGTH sockets: the product of factors; see `unet.variation.Variation`."""

    factors: tuple[StrengthFactor, ...]

    @property
    def changes_over_sampling(self) -> bool:
        return any(factor.progress_curve for factor in self.factors)

    @property
    def changes_over_frames(self) -> bool:
        return any(
            factor.frame_curve or factor.drawn_curve or len(factor.levels) > 1 or _count_masks(factor) > 1
            for factor in self.factors
        )

    @property
    def has_mask(self) -> bool:
        return any(factor.mask is not None for factor in self.factors)

    @property
    def differs_by_token(self) -> bool:
        return self.changes_over_frames or self.has_mask

    @property
    def is_zero(self) -> bool:
        """Return whether a value is 0, whatever the clip is."""
        return any(factor.strength == 0 for factor in self.factors)

    def check_frames(self, frames: int) -> None:
        for factor in self.factors:
            factor.check_frames(frames)

    def scale_at(self, progress: float) -> float:
        """Return the part of the product that all frames, places and sites share, at a progress of 0 to 1."""
        curves = (factor.progress_curve for factor in self.factors if factor.progress_curve)
        return prod(factor.strength for factor in self.factors) * prod(
            evaluate_curve(curve, progress) for curve in curves
        )

    def scale_sites(self, names: Iterable[str], whose: str) -> Mapping[str, float]:
        """Return a factor for each of `names`, sites in motion model files.

        Raise MotionModelError for a pattern that matches none of them.
        """
        scales = dict.fromkeys(names, 1.0)
        for factor in self.factors:
            values: dict[str, float] = {}
            for pattern, value in factor.site_values:
                values |= dict.fromkeys(sites_like(pattern, scales, whose, SITES), value)
            for name, value in values.items():
                scales[name] *= value
        return scales

    def draw(self, frames: int, height: int, width: int, tile: Tile | None = None) -> torch.Tensor | None:
        """Return the product for each frame and place, `[1 or frames, 1, 1 or height, 1 or width]`; None for 1.

        A place of a feature map gets the mean of the part of the mask that it covers, in a `tile` of
        the part that is in the tile.
        """
        field = torch.ones(1, 1, 1, 1)
        for factor in self.factors:
            values = torch.tensor(factor.over_frames(frames))
            field = field * rearrange(values, "frame -> frame 1 1 1")
            if factor.mask is not None:
                mask = factor.mask if tile is None else tile.cut(F.adaptive_avg_pool2d(factor.mask, tile.picture))
                field = field * F.adaptive_avg_pool2d(rearrange(mask, "f h w -> f 1 h w"), (height, width))
        return None if bool((field == 1).all()) else field


def read_levels(values: Any) -> tuple[float, ...]:
    """Return the numbers in a list of any depth, an array or a tensor. Raise LoomError for other values."""
    levels = tuple(_list_numbers(values))
    for frame, level in enumerate(levels):
        if not 0 <= level <= LARGEST:
            raise LoomError(
                f"`levels` of Motion Strength is {level:g} at frame {frame}. Scale the list to values from 0 to "
                f"{LARGEST:g}, such as 0 for silence and 1 for the loudest frame."
            )
    return levels


def _list_numbers(value: Any) -> Iterator[float]:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _list_numbers(each)
    elif isinstance(value, (int, float)):
        yield float(value)
    else:
        raise LoomError(
            f"`levels` of Motion Strength has '{shorten(str(value), 40)}', which is not a number. "
            "Connect a list of FLOAT values."
        )


def check_mask(mask: torch.Tensor) -> torch.Tensor:
    """Return `mask` as `[1 or frames, height, width]` on the CPU in float32. Raise LoomError for other tensors."""
    if mask.ndim not in (2, 3) or not mask.numel():
        raise LoomError(
            f"`mask` of Motion Strength has the shape {list(mask.shape)}. Connect masks [frames, height, width]."
        )
    mask = mask.reshape(-1, *mask.shape[-2:]).float().cpu()
    if not 0 <= float(mask.min()) <= float(mask.max()) <= LARGEST or not isfinite(float(mask.sum())):
        raise LoomError(
            f"`mask` of Motion Strength has values from {float(mask.min()):g} to {float(mask.max()):g}. "
            f"Connect a mask with values from 0 to 1."
        )
    return mask


def _count_masks(factor: StrengthFactor) -> int:
    return 0 if factor.mask is None else len(factor.mask)
