"""The host's ControlNets and adapters inside a window: each window sees the hints of its own frames, and of its tile.

`slice_conds` replaces the ControlNets of the conds by those that `WindowControls` finds. A hint is
scaled and encoded by the host's own code, once per run and tile, and kept off the device.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import torch
from comfy.utils import common_upscale
from einops import repeat

from ...motion_modules.tile import Tile
from .conds import CONTROL_IMAGE, CONTROL_MASK, FrameSlice, slices_itself
from .run import ContextRun, EncodedHint

BLOCK = 16  # frames of a hint that are encoded at once


class WindowControls:
    """The ControlNets that the conds of one window share, in a `tile` of the picture if there is one."""

    def __init__(self, part: FrameSlice, run: ContextRun, tile: Tile | None = None):
        self.part, self.run, self.tile = part, run, tile
        self._by_place: dict[tuple[int, Tile | None], Any] = {}

    def find(self, control, area: Sequence[int] | None = None):
        """Return the ControlNet that sees this window, for one that sees the clip.

        `area` is that of its cond, `(height, width, top, left)` in the tile.
        """
        return self.find_at(control, self._find_region(area))

    def find_at(self, control, region: Tile | None):
        """Return the ControlNet whose hints are cut to `region`, a part of the picture."""
        if control is None:
            return None
        key = id(control), region
        if key not in self._by_place:
            self._by_place[key] = self._create(control, region)
        return self._by_place[key]

    def _find_region(self, area: Sequence[int] | None) -> Tile | None:
        """Return the part of the picture that a cond shows; without tiles, the host fits hints to the area itself."""
        if self.tile is None or area is None:
            return self.tile
        height, width, top, left = area
        return self.tile.crop(top, left, height, width)

    def _create(self, control, region: Tile | None):
        if not slices_itself(control):
            return WindowedControl(control, self, region)
        previous = getattr(control, "previous_controlnet", None)
        windowed = self.find_at(previous, region)
        return control if windowed is previous else ChainedControl(control, windowed)


class ChainedControl:
    """A stand-in for `control` of another pack, which cuts its hints itself, after ControlNets that see a window."""

    def __init__(self, control, previous_controlnet):
        self.control, self.previous_controlnet = control, previous_controlnet

    def get_instance_for_device(self, device):
        """Return the copy on another device, as the host asks for it."""
        previous = self.previous_controlnet.get_instance_for_device(device)
        return ChainedControl(self.control.get_instance_for_device(device), previous)

    def get_control(self, *args, **kwargs):
        """Run `control`, which keeps its state from step to step, with the ControlNets of this window before it."""
        clip_control = self.control.previous_controlnet
        self.control.previous_controlnet = self.previous_controlnet
        try:
            return self.control.get_control(*args, **kwargs)
        finally:
            self.control.previous_controlnet = clip_control


class WindowedControl:
    """A stand-in for the host's `ControlBase` that runs `control` on the hints of a window, cut to `region`."""

    def __init__(self, control, controls: WindowControls, region: Tile | None):
        self.control, self.controls, self.region = control, controls, region
        self.previous_controlnet = controls.find_at(control.previous_controlnet, region)

    def get_instance_for_device(self, device):
        """Return the copy of a ControlNet on another device, as the host asks for it."""
        instance = WindowedControl(self.control.get_instance_for_device(device), self.controls, self.region)
        if self.previous_controlnet is not None:
            instance.previous_controlnet = self.previous_controlnet.get_instance_for_device(device)
        return instance

    def get_control(self, x_noisy, t, cond, batched_number: int, transformer_options):
        control = copy.copy(self.control)
        control.previous_controlnet = self.previous_controlnet
        if _acts(control, t) and control.cond_hint_original is not None:
            encoded = self._encode_once(x_noisy, t, cond, transformer_options)
            _set_cached_hint(control, encoded, self.controls.part, batched_number, x_noisy)
        return control.get_control(x_noisy, t, cond, batched_number, transformer_options)

    def _encode_once(self, x_noisy, t, cond, transformer_options) -> EncodedHint:
        encoded_hints = self.controls.run.encoded_hints
        key = (id(self.control), x_noisy.shape[2:], x_noisy.dtype, self.region)
        if key not in encoded_hints:
            blocks = _cut_hint(self.control, self.region)
            encoded_hints[key] = _encode_hint(blocks, x_noisy, t, cond, transformer_options)
        return encoded_hints[key]


def _acts(control, t) -> bool:
    times = control.timestep_range
    return times is None or times[1] <= t[0] <= times[0]


def _encode_hint(blocks: Iterator, x_noisy, t, cond, transformer_options) -> EncodedHint:
    """Encode the hint of the clip in blocks, by copies of a ControlNet that do not run its network."""
    encoded = [_run_block(block, x_noisy, t, cond, transformer_options) for block in blocks]
    storage = comfy.model_management.unet_offload_device()
    features = None
    outputs = getattr(encoded[0], "control_input", None)
    if outputs is not None:
        features = {key: _concat_levels([block.control_input[key] for block in encoded], storage) for key in outputs}
    return EncodedHint(torch.cat([block.cond_hint.to(storage) for block in encoded]), features)


def _cut_hint(control, region: Tile | None) -> Iterator:
    """Yield copies of `control` that hold a few frames of the hint each, cut to `region` and not yet encoded."""
    length = len(control.cond_hint_original)
    for start in range(0, length, BLOCK):
        part = FrameSlice(tuple(range(start, min(start + BLOCK, length))), length)
        block = copy.copy(control)
        block.previous_controlnet, block.cond_hint, block.timestep_range = None, None, None
        block.cond_hint_original = part.cut(control.cond_hint_original, CONTROL_IMAGE)
        masks = [mask[:1] if length == 1 else mask for mask in control.extra_concat_orig]
        block.extra_concat_orig = [part.cut(mask, CONTROL_MASK) for mask in masks]
        if hasattr(block, "control_input"):
            block.control_input = None
        if hasattr(block, "control_model"):
            block.control_model = _NoNetwork(control.control_model.dtype)
        if region is not None:
            _cut_to_region(block, region)
        yield block


def _cut_to_region(block, region: Tile) -> None:
    """Cut the pictures of `block`, at the size at which the host would show them beside the whole latent."""
    compression = block.vae.spacial_compression_encode() if block.vae is not None else 1

    def cut(pictures: torch.Tensor, place: Tile) -> torch.Tensor:
        height, width = place.picture
        return place.cut(common_upscale(pictures, width, height, block.upscale_algorithm, "center")).contiguous()

    masks = region.scale(block.compression_ratio)
    block.cond_hint_original = cut(block.cond_hint_original, masks.scale(compression))
    block.extra_concat_orig = [cut(mask, masks) for mask in block.extra_concat_orig]


def _run_block(block, x_noisy, t, cond, transformer_options):
    """Let the host encode the hint of `block`, with latents of as many frames; return `block`."""
    count = len(block.cond_hint_original)
    frames = [number % len(x_noisy) for number in range(count)]
    block.get_control(x_noisy[frames], t[frames], cond, 1, transformer_options)
    return block


@dataclass(frozen=True)
class _NoNetwork:
    """A stand-in for a ControlNet's network while its hint is encoded; it returns no features."""

    dtype: torch.dtype

    def __call__(self, **inputs) -> dict:
        return {}


def _concat_levels(blocks: list[list[torch.Tensor | None]], storage: torch.device) -> list[torch.Tensor | None]:
    """Concatenate the features of all blocks, level by level; a level without features stays None."""
    levels = zip(*blocks, strict=True)
    return [None if level[0] is None else torch.cat([tensor.to(storage) for tensor in level]) for level in levels]


def _set_cached_hint(control, encoded: EncodedHint, part: FrameSlice, batched_number: int, x_noisy) -> None:
    """Set what the host would have cached if the clip were this window."""

    def cut(tensor: torch.Tensor) -> torch.Tensor:
        return part.cut(tensor, CONTROL_IMAGE).to(x_noisy.device)

    def repeat_for_conds(level: torch.Tensor) -> torch.Tensor:
        return level if len(level) == 1 else repeat(level, "frame ... -> (cond frame) ...", cond=batched_number)

    control.cond_hint = cut(encoded.hint)
    if encoded.features is not None:
        control.control_input = {
            key: [None if level is None else repeat_for_conds(cut(level)) for level in levels]
            for key, levels in encoded.features.items()
        }
