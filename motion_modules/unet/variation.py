"""Strength and attention scale that vary over frames, places, sites and sampling, applied to motion modules.

With x the feature map, s the field of the strength and r that of the attention scale:

    out    = x + s(frame, y, x) (module(x) - x)
    logits = r(query's frame, y, x) q k^T / sqrt(d)

Parts that all frames and places share multiply the scalars of `MotionInputs` instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from einops import rearrange
from torch import nn

from ..architectures.stacking import Stack
from ..attention_tap import QKV, AttentionCall
from ..contract import MotionInputs
from ..errors import MotionModelError
from ..noise_schedule import find_progress
from ..tile import Tile


class Variation(Protocol):
    """A factor that varies over a clip; `sampling.steering.strength.MotionStrength` is one."""

    @property
    def changes_over_sampling(self) -> bool: ...
    @property
    def changes_over_frames(self) -> bool: ...
    @property
    def has_mask(self) -> bool: ...
    @property
    def differs_by_token(self) -> bool:
        """Return whether the factor differs between frames or places."""
        ...

    @property
    def is_zero(self) -> bool: ...

    def check_frames(self, frames: int) -> None:
        """Raise LoomError when the factor cannot be that of a clip of `frames`."""
        ...

    def scale_at(self, progress: float) -> float:
        """Return the factor that all sites, frames and places share at a progress of sampling from 0 to 1."""
        ...

    def scale_sites(self, names: Iterable[str], whose: str) -> Mapping[str, float]: ...

    def draw(self, frames: int, height: int, width: int, tile: Tile | None = None) -> torch.Tensor | None:
        """Return the factor of each frame and place, `[1 or frames, 1, 1 or height, 1 or width]`; None for 1.

        With a `tile`, height and width are those of a feature map of that part of the latent.
        """
        ...


def scale_at_sigma(variation: Variation | None, sigma: float | torch.Tensor, model_sampling) -> float:
    """Return the factor that all sites, frames and places share at a noise level; 1 without a variation."""
    if variation is None:
        return 1.0
    return variation.scale_at(find_progress(float(sigma), model_sampling) if variation.changes_over_sampling else 0.0)


Size = tuple[int, int]


class ClipFields:
    """The fields of a clip of `frames`, each drawn once for each size, tile, device and precision of feature maps."""

    def __init__(self, frames: int):
        self.frames = frames
        self._fields: dict[tuple, torch.Tensor | None] = {}

    def find(self, variation: Variation, x: torch.Tensor, tile: Tile | None) -> torch.Tensor | None:
        height, width = x.shape[-2:]
        key = (variation, height, width, tile, x.device, x.dtype)
        if key not in self._fields:
            drawn = variation.draw(self.frames, height, width, tile)
            self._fields[key] = None if drawn is None else drawn.to(x)
        return self._fields[key]


@dataclass
class BatchField:
    """A variation for a batch of the UNet, whose places hold the frames `numbers` of the clip, in a `tile` of it."""

    variation: Variation
    clip: ClipFields
    numbers: Sequence[int]
    tile: Tile | None = None
    _cut: dict[Size, torch.Tensor | None] = field(default_factory=dict)

    def on(self, x: torch.Tensor) -> torch.Tensor | None:
        """Return `[1 or batch, 1, 1 or height, 1 or width]` for a feature map; None where the factor is 1."""
        size = x.shape[-2], x.shape[-1]
        if size not in self._cut:
            drawn = self.clip.find(self.variation, x, self.tile)
            self._cut[size] = drawn[self.numbers] if drawn is not None and len(drawn) > 1 else drawn
        return self._cut[size]


@dataclass(frozen=True)
class ScaledModule:
    """A motion module whose change is multiplied by a field; of a stack, the change of each member."""

    module: nn.Module
    strength: torch.Tensor

    def __call__(self, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        """Return x + strength * (module(x) - x): exactly x where the field is 0, and the module's where it is 1."""
        for member in self.module if isinstance(self.module, Stack) else (self.module,):
            x = torch.lerp(x, member(x, inputs), self.strength)
        return x


class TokenField:
    """A field of the feature map `x`, whose clips have `frames`, for the tokens that a motion module makes of it."""

    def __init__(self, field: torch.Tensor, x: torch.Tensor, frames: int):
        self._is_same_everywhere = field.shape[-2:] == (1, 1)
        by_frame = field.expand(len(x), 1, *x.shape[-2:])
        self._by_token = rearrange(by_frame, "(clip frame) 1 h w -> clip (h w) frame", frame=frames)

    def lay_out(self, tokens: torch.Tensor, positions: slice | None, view: torch.Tensor | None) -> torch.Tensor | None:
        """Return `[batch, tokens, 1]` for `tokens` along frames, over space as well, or one for each frame.

        `positions` and `view` are those of `AttentionCall`. None where the layout cannot be told.
        """
        factors = self._by_token if positions is None else self._by_token[:, positions]
        if view is not None:
            factors = factors[:, :, view]
        clips, places, frames = factors.shape
        if tokens.shape[:2] == (clips * places, frames):
            return rearrange(factors, "clip place frame -> (clip place) frame 1")
        if tokens.shape[:2] == (clips, frames * places):
            return rearrange(factors, "clip place frame -> clip (frame place) 1")
        if tokens.shape[:2] == (clips, frames) and self._is_same_everywhere:
            return rearrange(factors[:, 0], "clip frame -> clip frame 1")
        return None


class QueryScale:
    """A tap that multiplies queries by a field, so that each of them has its own scale of the attention logits."""

    def __init__(self, scale: TokenField):
        self._scale = scale

    def __call__(self, call: AttentionCall, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> QKV:
        factors = self._scale.lay_out(q, call.positions, call.view)
        if factors is None:
            raise MotionModelError(
                f"`motion_attention_scale` differs between frames or places, but the attention '{call.name}' at "
                f"'{call.site}' has queries of the shape {list(q.shape)}, whose places cannot be told. Use one number "
                "for all of them."
            )
        return q * factors, k, v
