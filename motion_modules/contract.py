"""The contract between a motion module and this pack: what a module is built from, and what it is handed.

A module is an `nn.Module` with `__init__(self, config, ops=nn, **factory)` and `forward(self, x, inputs)`.
`x` and the result are `[chunks * frames, channels, height, width]`, the frames of a chunk in a row. Built with
`torch.nn` as `ops`, the constructor gives fresh weights; in ComfyUI `ops` are its layers, which may have none until a
file is loaded into them, and `factory` is a device and a dtype: what sets weights goes through `layer.parameters()`, as
`zero` does. `registry.motion_module` registers it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from einops import rearrange
from torch import nn

from .attention_tap import ModuleTaps
from .errors import MotionModelError

Shapes = Mapping[str, tuple[int, ...]]
Tensors = dict[str, torch.Tensor]

CPU_TOKENS = 2048  # 64 positions of 2 x 16 frames: intermediates stay in the second-level cache
CUDA_TOKENS = 65536  # half a 512 px picture of 2 x 16 frames: large kernels, and attention below CUDA's grid limit
UNLIMITED = 2**31 - 1  # the `positions` of a module that takes any number of frames


@dataclass(frozen=True)
class SiteShape:
    """What a fresh module is built for: widths of feature map and timestep embedding, and most frames at once."""

    channels: int
    time_channels: int
    positions: int


@dataclass(frozen=True)
class ClipShape:
    """Frames that a module sees at once, and the height and width of the feature map at its site."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        return self.frames * self.height * self.width


class Training(Protocol):
    """What a config may need of how a motion model was trained, where its shapes do not tell."""

    @property
    def default_positions(self) -> int: ...
    @property
    def joint_module_norm(self) -> bool: ...


class MotionConfig(Protocol):
    """The shape of one module: a frozen dataclass.

    `positions` is the largest number of frames at once, or UNLIMITED. A module that reads the timestep embedding also
    has `time_channels`, the width that it expects.
    """

    @property
    def channels(self) -> int: ...
    @property
    def positions(self) -> int: ...


class MotionConfigs(Protocol):
    """What makes a MotionConfig, from a file or for a place in a UNet: its class, with these two as class methods.

    `from_shapes` gets the shapes of a module's tensors by name and raises ValueError, KeyError or IndexError when they
    make no such module.
    """

    def from_shapes(self, shapes: Shapes, training: Training) -> Any: ...
    def for_site(self, site: SiteShape) -> Any: ...


@dataclass(frozen=True)
class Views:
    """Frames that attend to each other: windows of frame numbers, and what each window counts for its frames.

    The weights are `[1, frames, 1]`; those of all windows that hold a frame add up to 1.
    """

    windows: tuple[torch.Tensor, ...]
    weights: tuple[torch.Tensor, ...]

    def on(self, tokens: torch.Tensor) -> "Views":
        """The same on the device of `tokens`, weights in their precision."""
        windows = tuple(window.to(tokens.device) for window in self.windows)
        return Views(windows, tuple(weight.to(tokens) for weight in self.weights))


@dataclass(frozen=True)
class Windowing:
    """How the frames of each of the host's cond chunks are divided: `clips` behind one another, or `views` of one."""

    clips: int = 1
    views: Views | None = None


WHOLE = Windowing()


@dataclass(frozen=True)
class MotionInputs:
    """Settings of one evaluation: `frames` per cond chunk, `strength` of the change, factor on the attention logits.

    `host_options` are the host's `transformer_options` when they override attention, else empty. With `views`, frames
    attend to each other only within those windows. `time_embedding` is what the host's residual blocks get,
    `[chunks * frames, time_channels]`: the embedded timestep, in SDXL plus the embedded picture size and pooled prompt.
    `taps` see and may edit attention, None where there are none.
    """

    frames: int
    strength: float = 1.0
    attention_scale: float = 1.0
    host_options: dict = field(default_factory=dict)
    views: Views | None = None
    time_embedding: torch.Tensor | None = None
    taps: ModuleTaps | None = None

    @property
    def frames_together(self) -> int:
        """The largest number of frames that see each other."""
        return max(len(window) for window in self.views.windows) if self.views else self.frames

    def require_positions(self, positions: int) -> None:
        """Raise MotionModelError when more than `positions` frames are to see each other."""
        if self.frames_together > positions:
            raise MotionModelError(
                f"The motion model received {self.frames_together} frames at once, but has positions for "
                f"{positions}: lower the latent's batch_size, or sample in context windows."
            )

    def time_of_clips(self) -> torch.Tensor:
        """`[chunks, time_channels]`: the timestep embedding of each chunk, whose frames all have the same."""
        if self.time_embedding is None:
            raise MotionModelError(
                "A motion module asks for the timestep embedding, which it was not given: "
                "pass time_embedding in its MotionInputs."
            )
        return self.time_embedding[:: self.frames]

    def add(self, x: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """x + strength * change."""
        return torch.add(x, change, alpha=self.strength)

    def along_frames(
        self, x: torch.Tensor, hidden: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """x + strength * change(hidden), for a `change` that mixes frames and channels, but no positions.

        `change` maps `[chunks * positions, frames, channels]` to the same shape. It is called with some positions at
        a time, so that intermediates stay in cache and memory stays flat.
        """
        hidden, source = (
            rearrange(features, "(chunk frame) c h w -> chunk frame c (h w)", frame=self.frames)
            for features in (hidden, x)
        )
        chunks, _, _, places = source.shape
        result = torch.empty_like(source)
        for positions in spatial_chunks(places, len(x), x.device):
            if self.taps is not None:
                self.taps.enter_positions(positions)
            part = rearrange(hidden[..., positions], "chunk frame c p -> chunk frame p c")
            tokens = rearrange(part.contiguous(), "chunk frame p c -> (chunk p) frame c")  # faster than in one copy
            moved = rearrange(change(tokens), "(chunk p) frame c -> chunk frame c p", chunk=chunks)
            result[..., positions] = self.add(source[..., positions], moved)
        if self.taps is not None:
            self.taps.enter_positions(None)
        return result.view_as(x)

    def in_views(self, tokens: torch.Tensor, mix: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """`mix(tokens)`, or with views that of each window, fused by their weights; dimension 1 is the frames.

        Window-based attention fusion: Qiu et al. 2024, "FreeNoise", section 3.3. Each window is a clip of its own.
        """
        if self.views is None:
            return mix(tokens)
        fused = torch.zeros_like(tokens)
        on_device = self.views.on(tokens)
        for window, weights in zip(on_device.windows, on_device.weights, strict=True):
            if self.taps is not None:
                self.taps.enter_view(window)
            weights = weights.view(1, -1, *[1] * (tokens.ndim - 2))
            mixed = mix(tokens[:, window]) * weights
            fused.index_add_(1, window, mixed.to(fused.dtype))  # under autocast, `mix` may return another
        if self.taps is not None:
            self.taps.enter_view(None)
        return fused


def zero(layer: nn.Module) -> nn.Module:
    """The layer with all its weights zero, so that a fresh module whose last layer it is changes nothing."""
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer


def frames_per_chunk(batch: int, chunks: int) -> int:
    """Frames in each of the host's cond chunks, which stand one behind another in the batch."""
    if batch % chunks:
        raise MotionModelError(
            f"The UNet received a batch of {batch} for {chunks} conds, expected a multiple of {chunks}: "
            "remove the node that changes the batch inside the model, or give every cond the same frames."
        )
    return batch // chunks


def spatial_chunks(positions: int, batch: int, device: torch.device) -> Iterator[slice]:
    """Slices that cover `positions`, each small enough for `batch` frames; attention along frames never mixes them."""
    size = positions if torch.compiler.is_compiling() else _chunk_size(batch, device)
    for start in range(0, positions, size):
        yield slice(start, min(start + size, positions))


def _chunk_size(batch: int, device: torch.device) -> int:
    tokens = CPU_TOKENS if device.type == "cpu" else CUDA_TOKENS
    return max(1, tokens // batch)
