"""Motion LoRAs whose strength varies over frames, places, sites and sampling, beside the layers that they change.

With W a linear layer and s the field of the strength, both of the same feature map:

    y = W x + s(frame, y, x) (alpha / rank) up(down(x))

Hu et al. 2022, "LoRA", section 4.1. Patched weights hold one strength for a whole evaluation, so the
low-rank part is computed for each token instead. No weight is changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from ..attention_tap import ModuleTaps
from ..errors import MotionModelError
from .variation import BatchField, TokenField, Variation


@dataclass(frozen=True)
class LowRankPart:
    """Change of a linear layer by a LoRA: `scale` up down, with `down` `[rank, in]` and `up` `[out, rank]`."""

    down: torch.Tensor
    up: torch.Tensor
    scale: float


Parts = Mapping[str, LowRankPart]  # by the name of a linear layer in its motion module


@dataclass(frozen=True, eq=False)
class VaryingLora:
    """A motion LoRA of `strength` times `variation`; `parts` are those of each site, in motion model files."""

    name: str
    strength: float
    variation: Variation
    parts: Mapping[str, Parts]
    site_strengths: Mapping[str, float]


class FactorCopies:
    """Copies of the factors of LoRAs on the device and in the precision of tokens, made once for a run."""

    def __init__(self):
        self._copies: dict[tuple, torch.Tensor] = {}

    def find(self, factor: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        key = (id(factor), tokens.device, tokens.dtype)
        if key not in self._copies:
            self._copies[key] = factor.to(tokens)
        return self._copies[key]


@dataclass(frozen=True)
class ActiveLora:
    """A motion LoRA at one site in one evaluation; `field` multiplies its `strength` where it varies over the clip."""

    name: str
    parts: Parts
    strength: float
    field: BatchField | None
    copies: FactorCopies


@dataclass(eq=False)
class LowRankHook:
    """A forward hook of torch on a linear layer, which adds the part of a LoRA to its result."""

    lora: ActiveLora
    part: LowRankPart
    strengths: TokenField | None
    taps: ModuleTaps
    where: str
    has_run: bool = field(default=False, init=False)

    def __call__(self, layer: nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        (tokens,) = arguments
        down, up = (self.lora.copies.find(factor, tokens) for factor in (self.part.down, self.part.up))
        hidden = F.linear(tokens, down)
        if self.strengths is not None:
            hidden = hidden * self._lay_out(self.strengths, tokens)
        self.has_run = True
        scale = self.lora.strength * self.part.scale
        return torch.addmm(output.flatten(0, -2), hidden.flatten(0, -2), up.T, alpha=scale).view_as(output)

    def _lay_out(self, strengths: TokenField, tokens: torch.Tensor) -> torch.Tensor:
        by_token = strengths.lay_out(tokens, self.taps.positions, self.taps.view)
        if by_token is None:
            raise MotionModelError(
                f"The strength of motion LoRA '{self.lora.name}' differs between frames or places, but {self.where} "
                f"gets tokens of the shape {list(tokens.shape)}, whose places cannot be told. Use one strength for all."
            )
        return by_token


@contextmanager
def add_low_rank_parts(
    loras: Sequence[ActiveLora], module: nn.Module, site: str, x: torch.Tensor, taps: ModuleTaps, frames: int
) -> Iterator[None]:
    """Let the layers of `module` add the parts of `loras` while it runs on the feature map `x`.

    `frames` is the length of its clips. Raise MotionModelError afterwards where the module uses the
    weight of such a layer in another way.
    """
    hooks, handles = [], []
    for lora in loras:
        drawn = lora.field and lora.field.on(x)
        strengths = None if drawn is None else TokenField(drawn, x, frames)
        for name, part in lora.parts.items():
            hooks.append(LowRankHook(lora, part, strengths, taps, f"the layer '{name}' at '{site}'"))
            handles.append(module.get_submodule(name).register_forward_hook(hooks[-1]))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    for hook in hooks:
        if not hook.has_run:
            raise MotionModelError(
                f"The strength of motion LoRA '{hook.lora.name}' varies, but {hook.where} is not called as a layer. "
                "Disconnect `motion_strength` of Motion LoRA."
            )
