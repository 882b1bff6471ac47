"""CameraCtrl: He et al. 2024, "CameraCtrl: Enabling Camera Control for Text-to-Video Generation", section 4.

An encoder turns the rays of a camera path into features of four scales. In the first attention of every motion
module on the way down and up,

    h <- h + s (W (h + p) + b),     h = LN(z) + position,

before queries, keys and values, where p is the feature of the module's scale, W and b belong to the module and
are zero at the start of training, and s is the strength. The encoder mixes frames by one temporal attention after
each of its residual blocks. A longer clip than its table of positions is encoded in overlapping windows, whose
results are blended; all cameras stay relative to the first frame of the clip.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from comfy.model_management import throw_exception_if_processing_interrupted
from einops import rearrange
from torch import nn

from ..architectures.positional_encoding import choose_positions
from ..architectures.temporal_transformer import (
    LARGEST_POSITIONS,
    TemporalTransformerBlock,
    TemporalTransformerConfig,
)
from ..contract import AddedFeatures, MotionInputs, Shapes, Tensors, spatial_chunks
from ..tile import PIXELS
from .adapter import AdapterEffects, AdapterInputs
from .camera import CAMERA_NODE, read_site_layers, site_of, to_layer_name
from .registry import adapter
from .residual_blocks import ResidualBlock, make_room

CAMERA_CTRL = "camera_ctrl"
RAY_CHANNELS = 6
TRAINED_POSITIONS = 16
LARGEST_COUNT = 8  # of scales, and of blocks in a scale

_encoder_pattern = r"(?:pose_encoder_state_dict\.)?encoder_(?:conv_in|down_conv_blocks|down_attention_blocks)\..+"
_merge_pattern = (
    r"(?:attention_processor_state_dict\.)?(?:down|up)_blocks\.\d+\.motion_modules\.\d+\.temporal_transformer\."
    r"transformer_blocks\.0\.attention_blocks\.0\.processor\.qkv_merge\.(?:weight|bias)"
)


class CameraRays(Protocol):
    """The condition: a camera path for a clip."""

    @property
    def strength(self) -> float: ...
    def check_clip(self, frames: int, height: int, width: int) -> None: ...
    def cast_rays(self, first: int, last: int, width: int, height: int) -> torch.Tensor:
        """Return the rays of frames `first` to `last` - 1 in Pluecker coordinates, `[frames, 6, height, width]`."""
        ...


@dataclass(frozen=True)
class CameraCtrlConfig:
    """Widths of the scales, residual blocks of each, positions of the encoder, and widths of the layers by site."""

    widths: tuple[int, ...]
    blocks: int
    positions: int
    sites: tuple[tuple[str, int], ...]

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> "CameraCtrlConfig":
        sites = {site_of(key): shape[0] for key, shape in shapes.items() if key.startswith("merges.")}
        if not sites:
            raise ValueError("the layers qkv_merge of the motion modules are missing")
        numbers = [key.split(".") for key in shapes if key.startswith("encoder_down_conv_blocks.")]
        if not numbers:
            raise ValueError("the pose encoder is missing")
        scales, blocks = (1 + max(int(parts[place]) for parts in numbers) for place in (1, 2))
        table = shapes.get(_name_table(0, 0), ())
        positions = table[1] if len(table) == 3 else TRAINED_POSITIONS
        if max(scales, blocks) > LARGEST_COUNT or positions > LARGEST_POSITIONS:
            raise ValueError(f"{scales} scales, {blocks} blocks or {positions} positions are too many")
        widths = tuple(shapes[f"encoder_down_conv_blocks.{scale}.0.block1.weight"][0] for scale in range(scales))
        for site, width in sorted(sites.items()):
            _require_scale(site, width, widths)
        return cls(widths, blocks, positions, tuple(sorted(sites.items())))


def scale_of(site: str, scales: int) -> int:
    """Return the scale whose features the motion module at `site` gets; on the way up they come in reverse order."""
    number = int(site.split(".")[1])
    return number if site.startswith("down") else scales - 1 - number


def _require_scale(site: str, width: int, widths: Sequence[int]) -> None:
    """Raise ValueError unless the encoder has features of `width` for the motion module at `site`."""
    if not site.startswith(("down_blocks.", "up_blocks.")):
        raise ValueError(f"the pose encoder has no features for '{site}'")
    scale = scale_of(site, len(widths))
    if not 0 <= scale < len(widths):
        raise ValueError(f"the pose encoder has {len(widths)} scales, and none for '{site}'")
    if widths[scale] != width:
        raise ValueError(f"the layer at '{site}' has {width} channels, and its scale of the encoder {widths[scale]}")


def list_windows(frames: int, length: int) -> list[range]:
    """Return windows of up to `length` that cover `frames`, each with three quarters of the one before."""
    if frames <= length:
        return [range(frames)]
    starts = [*range(0, frames - length, max(1, length // 4)), frames - length]
    return [range(start, start + length) for start in starts]


def weigh_windows(windows: Sequence[range], frames: int) -> list[torch.Tensor]:
    """Return the weight of each frame in each window: Hann windows, scaled so that they add up to 1 for each frame.

    Their ends are close to 0, so that no step from frame to frame stands out where a window ends. Pyramids with an
    overlap of half leave 1/9 of a frame to a window that the next frame no longer has.
    """
    hills = [_weigh_hill(len(window)) for window in windows]
    total = torch.zeros(frames, dtype=torch.float64)
    for window, hill in zip(windows, hills, strict=True):
        total[window.start : window.stop] += hill
    return [hill / total[window.start : window.stop] for window, hill in zip(windows, hills, strict=True)]


def _weigh_hill(length: int) -> torch.Tensor:
    return torch.sin(torch.pi * (torch.arange(length, dtype=torch.float64) + 0.5) / length) ** 2


def _name_table(scale: int, number: int) -> str:
    return f"encoder_down_attention_blocks.{scale}.{number}.attention_blocks.0.pos_encoder.pe"


def _recognise(shapes: Shapes) -> bool:
    return True


def _read(tensors: Tensors) -> Tensors:
    """Return the encoder's tensors, and the layers of the sites."""
    encoder = {
        name.removeprefix("pose_encoder_state_dict."): tensor
        for name, tensor in tensors.items()
        if re.fullmatch(_encoder_pattern, name)
    }
    return encoder | read_site_layers(tensors, "qkv_merge", "merges")


def _complete(tensors: Tensors, config: CameraCtrlConfig) -> Tensors:
    """Return `tensors` with a table of positions for every block; some files lack it or hold it rounded."""
    tables = {_name_table(scale, n): width for scale, width in enumerate(config.widths) for n in range(config.blocks)}
    return tensors | {key: choose_positions(tensors.get(key), config.positions, tables[key]) for key in tables}


@adapter(
    CAMERA_CTRL,
    name="CameraCtrl",
    pattern=f"{_encoder_pattern}|{_merge_pattern}",
    marks=("encoder_", ".qkv_merge."),
    recognises=_recognise,
    read=_read,
    complete=_complete,
    config=CameraCtrlConfig,
    objection=lambda config, unet: "",
    needs="a camera path",
    node=CAMERA_NODE,
    has_own_files=True,
)
class CameraCtrl(nn.Module):
    """Encoder of rays, and a layer for each motion module that mixes their features in."""

    def __init__(self, config: CameraCtrlConfig, ops=nn, **factory):
        super().__init__()
        self.config = config
        first = config.widths[0]
        self.encoder_conv_in = ops.Conv2d(RAY_CHANNELS * PIXELS**2, first, 3, padding=1, **factory)
        self.encoder_down_conv_blocks = nn.ModuleList()
        self.encoder_down_attention_blocks = nn.ModuleList()
        for before, width in zip((first, *config.widths), config.widths, strict=False):
            first_scale = len(self.encoder_down_conv_blocks) == 0
            self.encoder_down_conv_blocks.append(
                nn.ModuleList(
                    ResidualBlock(width if number else before, width, not (number or first_scale), ops, **factory)
                    for number in range(config.blocks)
                )
            )
            mixing = TemporalTransformerConfig(width, config.positions, attentions=1)
            self.encoder_down_attention_blocks.append(
                nn.ModuleList(TemporalTransformerBlock(mixing, ops, **factory) for _ in range(config.blocks))
            )
        self.merges = nn.ModuleDict(
            {to_layer_name(site): ops.Linear(width, width, **factory) for site, width in config.sites}
        )

    def forward(self, condition: CameraRays, inputs: AdapterInputs) -> AdapterEffects:
        """Encode the whole clip in the first evaluation of a run, and mix its features into every motion module."""
        if not condition.strength:
            return AdapterEffects()
        scales = inputs.memory.get("features") or self.encode_clip(condition, inputs.clip_frames, inputs.x)
        inputs.memory["features"] = scales
        numbers = torch.tensor(inputs.numbers)
        batches = [scale[numbers.to(scale.device)].to(inputs.x) for scale in scales]
        return AdapterEffects(
            in_modules={
                site: self._merge_at(site, batches[scale_of(site, len(batches))], condition.strength)
                for site, _ in self.config.sites
            }
        )

    def _merge_at(self, site: str, features: torch.Tensor, strength: float) -> AddedFeatures:
        merge = self.merges[to_layer_name(site)]

        def add_features(h: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
            return h + strength * merge(h + p)

        return AddedFeatures(features, before_attention=add_features)

    def encode_clip(self, condition: CameraRays, frames: int, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of the whole clip, one tensor `[frames, channels, height, width]` for each scale.

        `x` is the latent, whose size, precision and device count.
        """
        windows = list_windows(frames, self.config.positions)
        scales: list[torch.Tensor] = []
        rays: dict[int, torch.Tensor] = {}  # those of the last window, most of which the next one needs too
        for window, weights in zip(windows, weigh_windows(windows, frames), strict=True):
            throw_exception_if_processing_interrupted()
            rays = {n: rays[n] if n in rays else _cast_frame(condition, n, x) for n in window}
            encoded = self.encode(torch.cat(list(rays.values())))
            scales = scales or [make_room(features, frames, encoded) for features in encoded]
            for whole, features in zip(scales, encoded, strict=True):
                part = features * weights.to(features).view(-1, 1, 1, 1)
                whole[window.start : window.stop] += part.to(whole.device)
        return scales

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of rays `[frames, 384, height, width]` of one window."""
        features: list[torch.Tensor] = []
        x = self.encoder_conv_in(x)
        for convolutions, attentions in zip(
            self.encoder_down_conv_blocks, self.encoder_down_attention_blocks, strict=True
        ):
            for convolution, attention in zip(convolutions.children(), attentions.children(), strict=True):
                x = mix_frames(attention, convolution(x))
            features.append(x)
        return features


def _cast_frame(condition: CameraRays, frame: int, x: torch.Tensor) -> torch.Tensor:
    height, width = x.shape[-2:]
    return unshuffle_rays(condition.cast_rays(frame, frame + 1, width * PIXELS, height * PIXELS), x)


def unshuffle_rays(rays: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return rays `[frames, 6, height, width]` of pixels as `[frames, 384, h, w]` of latent pixels."""
    return F.pixel_unshuffle(rays.to(like.device, like.dtype), PIXELS)


def mix_frames(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return `x` `[frames, channels, height, width]` after a transformer block along its frames."""
    inputs, height = MotionInputs(len(x)), x.shape[2]
    tokens = rearrange(x, "frame c h w -> (h w) frame c")
    parts = [block(tokens[positions], inputs) for positions in spatial_chunks(len(tokens), len(x), x.device)]
    return rearrange(torch.cat(parts), "(h w) frame c -> frame c h w", h=height)
