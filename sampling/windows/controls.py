"""The host's ControlNets and adapters inside a window: each window sees the hints of its own frames.

A hint is scaled and encoded by the host's own code, once for all windows and steps, and kept off the device.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import comfy.model_management
import torch

from .conds import FrameSlice

BLOCK = 16
SLICES_ITSELF = "sub_idxs"  # Advanced-ControlNet's objects, which read `ad_params`


@dataclass(frozen=True)
class Encoded:
    """What a ControlNet has made of the hints of all frames; an adapter's features as well."""

    hint: torch.Tensor
    features: dict[str, list[torch.Tensor | None]] | None


class WindowControls:
    """Finds for each ControlNet of the conds the one that sees a window; the same one for every cond of the window."""

    def __init__(self, part: FrameSlice, hints: dict):
        self.part, self.hints = part, hints
        self._windowed: dict[int, WindowedControl] = {}

    def __call__(self, control):
        if control is None or hasattr(control, SLICES_ITSELF):
            return control
        if id(control) not in self._windowed:
            self._windowed[id(control)] = WindowedControl(control, self)
        return self._windowed[id(control)]


class WindowedControl:
    """Stands where the host expects a `ControlBase` and lets `control` work on the hints of a window."""

    def __init__(self, control, controls: WindowControls):
        self.control, self.controls = control, controls
        self.previous_controlnet = controls(control.previous_controlnet)

    def get_instance_for_device(self, device):
        """The host's way to the copy of a ControlNet that lives on another device."""
        own = WindowedControl(self.control.get_instance_for_device(device), self.controls)
        if self.previous_controlnet is not None:
            own.previous_controlnet = self.previous_controlnet.get_instance_for_device(device)
        return own

    def get_control(self, x_noisy, t, cond, batched_number: int, transformer_options):
        control = copy.copy(self.control)
        control.previous_controlnet = self.previous_controlnet
        if _acts(control, t) and control.cond_hint_original is not None:
            encoded = self._encoded(x_noisy, t, cond, batched_number, transformer_options)
            _give(control, encoded, self.controls.part, batched_number, x_noisy)
        return control.get_control(x_noisy, t, cond, batched_number, transformer_options)

    def _encoded(self, x_noisy, t, cond, batched_number, transformer_options) -> Encoded:
        key = (id(self.control), x_noisy.shape[2:], x_noisy.dtype)
        if key not in self.controls.hints:
            self.controls.hints[key] = _encode(self.control, x_noisy, t, cond, transformer_options)
        return self.controls.hints[key]


def _acts(control, t) -> bool:
    times = control.timestep_range
    return times is None or times[1] <= t[0] <= times[0]


def _encode(control, x_noisy, t, cond, transformer_options) -> Encoded:
    """The hints of the clip in blocks, through a copy of `control` whose network is left out."""
    parts = [_probe(block, x_noisy, t, cond, transformer_options) for block in _blocks(control)]
    keep = comfy.model_management.unet_offload_device()
    features = None
    if getattr(parts[0], "control_input", None) is not None:
        features = {key: _joined([part.control_input[key] for part in parts], keep) for key in parts[0].control_input}
    return Encoded(torch.cat([part.cond_hint.to(keep) for part in parts]), features)


def _blocks(control) -> Iterator:
    """Copies of `control` that hold a few frames of the hint each, and nothing made of it yet."""
    length = len(control.cond_hint_original)
    for start in range(0, length, BLOCK):
        frames = FrameSlice(tuple(range(start, min(start + BLOCK, length))), length)
        block = copy.copy(control)
        block.previous_controlnet, block.cond_hint, block.timestep_range = None, None, None
        block.cond_hint_original = frames.of(control.cond_hint_original, "The image of a ControlNet")
        masks = [mask[:1] if length == 1 else mask for mask in control.extra_concat_orig]
        block.extra_concat_orig = [frames.of(mask, "The mask of a ControlNet") for mask in masks]
        if hasattr(block, "control_input"):
            block.control_input = None
        if hasattr(block, "control_model"):
            block.control_model = _HintOnly(control.control_model.dtype)
        yield block


def _probe(block, x_noisy, t, cond, transformer_options):
    count = len(block.cond_hint_original)
    frames = [number % len(x_noisy) for number in range(count)]
    block.get_control(x_noisy[frames], t[frames], cond, 1, transformer_options)
    return block


@dataclass(frozen=True)
class _HintOnly:
    """In the place of a ControlNet's network while its hint is encoded: an answer without any feature."""

    dtype: torch.dtype

    def __call__(self, **inputs) -> dict:
        return {}


def _joined(parts: list[list[torch.Tensor | None]], keep: torch.device) -> list[torch.Tensor | None]:
    """The features of all frames, level by level; a level without any stays so."""
    levels = zip(*parts, strict=True)
    return [None if level[0] is None else torch.cat([tensor.to(keep) for tensor in level]) for level in levels]


def _give(control, encoded: Encoded, part: FrameSlice, batched_number: int, x_noisy) -> None:
    """What the host would have cached, as if the clip were this window."""

    def cut(tensor: torch.Tensor) -> torch.Tensor:
        return part.of(tensor, "The image of a ControlNet").to(x_noisy.device)

    def for_conds(level: torch.Tensor) -> torch.Tensor:
        return level if len(level) == 1 else torch.cat([level] * batched_number)

    control.cond_hint = cut(encoded.hint)
    if encoded.features is not None:
        control.control_input = {
            key: [None if level is None else for_conds(cut(level)) for level in levels]
            for key, levels in encoded.features.items()
        }
