"""The contract between a motion module and this pack: how a module is built, and what it is called with.

A module is an `nn.Module` with `__init__(self, config, ops=nn, **factory)` and
`forward(self, x, inputs)`. `x` and the result are `[chunks * frames, channels, height, width]`,
with the frames of a chunk in a row. `factory` holds a device and a dtype. With `torch.nn` as `ops`,
the constructor creates fresh weights. In ComfyUI `ops` are its own layers, which may have no
weights until a file is loaded, so a constructor that sets weights goes through
`layer.parameters()`, as `zero` does. `registry.motion_module` registers a module.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from .attention_tap import ModuleTaps
from .errors import LoomError, MotionModelError
from .frame_positions import AS_TRAINED, FramePositions
from .frame_positions import UNLIMITED as UNLIMITED

Shapes = Mapping[str, tuple[int, ...]]
Tensors = dict[str, torch.Tensor]

ATTENTION_OVERRIDE = "optimized_attention_override"  # in the host's transformer_options: a function of another node


@dataclass(frozen=True)
class SiteShape:
    """Size of a fresh module: widths of feature map and timestep embedding, and the maximum number of frames."""

    channels: int
    time_channels: int
    positions: int


@dataclass(frozen=True)
class ClipShape:
    """Size of a clip at a site: the frames that a module sees at once, height and width of the feature map."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        return self.frames * self.height * self.width


class Training(Protocol):
    """Facts about the training of a motion model that the shapes of its tensors do not reveal."""

    @property
    def default_positions(self) -> int: ...
    @property
    def joint_module_norm(self) -> bool: ...


class MotionConfig(Protocol):
    """The shape of one module: a frozen dataclass.

    `positions` is the maximum number of frames at once, or UNLIMITED. The config of a module that
    reads the timestep embedding also has `time_channels`, the width of that embedding.
    """

    @property
    def channels(self) -> int: ...
    @property
    def positions(self) -> int: ...


class ConfigBuilder(Protocol):
    """Builder of a MotionConfig from a file or for a site of a UNet: usually its class, with two class methods.

    `from_shapes` gets the shapes of a module's tensors by name, and raises ValueError, KeyError or
    IndexError when they are not those of such a module.
    """

    def from_shapes(self, shapes: Shapes, training: Training) -> Any: ...
    def for_site(self, site: SiteShape) -> Any: ...


@dataclass(frozen=True)
class Views:
    """Windows of frames that attend to each other, as frame numbers, and the weights that fuse their results.

    The weights are `[1, frames, 1]`. For each frame, the weights of all windows that contain it add
    up to 1.
    """

    windows: tuple[torch.Tensor, ...]
    weights: tuple[torch.Tensor, ...]

    def on(self, tokens: torch.Tensor) -> "Views":
        """Return the views on the device of `tokens`, with weights in the precision of these."""
        windows = tuple(window.to(tokens.device) for window in self.windows)
        return Views(windows, tuple(weight.to(tokens) for weight in self.weights))


@dataclass(frozen=True)
class Windowing:
    """Division of each cond chunk of the host: into clips of `frames` (None: unknown), or of a clip into `views`."""

    frames: int | None = None
    views: Views | None = None


WHOLE = Windowing()


@dataclass(frozen=True)
class AddedFeatures:
    """Features `[chunks * frames, channels, height, width]` that an adapter mixes into the first attention of a module.

    `before_attention(h, features)` returns the tokens `[chunks * positions, frames, channels]` from which queries,
    keys and values are made, after norm and positions.
    """

    features: torch.Tensor
    before_attention: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class MotionInputs:
    """Settings of one evaluation: `frames` per clip, `strength` of the change, factor on the attention logits.

    `host_options` are the host's `transformer_options` when they override attention, else empty.
    With `views`, frames attend to each other only within those windows. `time_embedding` is what
    the host's residual blocks get, `[chunks * frames, time_channels]`: the embedded timestep, in
    SDXL plus the embedded picture size and pooled prompt. `taps` see and may edit attention, None
    where there are none. `positions` tells which row of its table of positions a module gives to
    each frame. `added` are features that an adapter mixes into a temporal transformer.
    """

    frames: int
    strength: float = 1.0
    attention_scale: float = 1.0
    host_options: dict = field(default_factory=dict)
    views: Views | None = None
    time_embedding: torch.Tensor | None = None
    taps: ModuleTaps | None = None
    positions: FramePositions = AS_TRAINED
    added: AddedFeatures | None = None

    @property
    def attended_frames(self) -> int:
        """Maximum number of frames that attend to each other."""
        return max(len(window) for window in self.views.windows) if self.views else self.frames

    def require_positions(self, positions: int) -> None:
        """Raise MotionModelError when more than `positions` frames attend to each other."""
        positions = self.positions.capacity(positions)
        if self.attended_frames > positions:
            raise MotionModelError(
                f"The motion model received {self.attended_frames} frames at once, but has positions for "
                f"{positions}. Use fewer frames, or sample in context windows."
            )

    def time_per_chunk(self) -> torch.Tensor:
        """Return `[chunks, time_channels]`: the timestep embedding of each chunk, which all its frames share."""
        if self.time_embedding is None:
            raise MotionModelError(
                "A motion module needs the timestep embedding, but its inputs have no time_embedding. "
                "Pass time_embedding to MotionInputs."
            )
        return self.time_embedding[:: self.frames]

    def add(self, x: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """Return x + strength * change."""
        return torch.add(x, change, alpha=self.strength)

    def along_frames(
        self, x: torch.Tensor, hidden: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Return x + strength * change(hidden), for a `change` that mixes frames and channels, but not positions.

        `x` and `hidden` are `[chunks * frames, channels, height, width]`. `change` maps
        `[chunks * positions, frames, channels]` to the same shape. It is called with some positions
        at a time, so that intermediates stay in cache and memory stays flat.
        """
        hidden, source = (
            rearrange(features, "(chunk frame) c h w -> chunk frame c (h w)", frame=self.frames)
            for features in (hidden, x)
        )
        chunks, _, _, area = source.shape
        result = torch.empty_like(source)
        for positions in spatial_chunks(area, len(x), x.device):
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
        """Return `mix(tokens)`, with frames in dimension 1; with views, fuse the results of all windows.

        Window-based attention fusion: Qiu et al. 2024, "FreeNoise", section 3.3. `mix` sees each
        window as a clip.
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
    """Set all weights of `layer` to zero and return it: as the last layer of a fresh module, it changes nothing."""
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer


def fit_size(features: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return `features` `[batch, channels, height, width]` in the size of `x`, which host nodes may make smaller."""
    if features.shape[-2:] == x.shape[-2:]:
        return features
    height, width = x.shape[-2:]
    return F.adaptive_avg_pool2d(features, (height, width))


def frames_per_chunk(batch: int, chunks: int) -> int:
    """Return the number of frames in each of the `chunks`, the host's conds, when each of them is one clip."""
    if batch % chunks:
        raise LoomError(
            f"The UNet received a batch of {batch} for {chunks} conds, expected a multiple of {chunks}. "
            "Remove the node that changes the batch inside the model, or give all conds the same number of frames."
        )
    return batch // chunks


CPU_TOKENS = 2048  # 64 positions of 2 x 16 frames: intermediates stay in the second-level cache
CUDA_TOKENS = 65536  # half a 512 px picture of 2 x 16 frames: large kernels, and attention below CUDA's grid limit


def spatial_chunks(positions: int, batch: int, device: torch.device) -> Iterator[slice]:
    """Yield slices that cover `positions`, each small enough for `batch` frames of it to stay in cache."""
    size = positions if torch.compiler.is_compiling() else _choose_chunk_size(batch, device)
    for start in range(0, positions, size):
        yield slice(start, min(start + size, positions))


def _choose_chunk_size(batch: int, device: torch.device) -> int:
    tokens = CPU_TOKENS if device.type == "cpu" else CUDA_TOKENS
    return max(1, tokens // batch)
