"""What the host hands over for every frame, cut to the frames of a window."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import torch

from ...motion_modules.errors import LoomError

MODEL_CONDS, CONTROL, MASK, UUID_KEY = "model_conds", "control", "mask", "uuid"
PROMPTS = ("cross_attn", "pooled_output")
PICTURES = (MASK, "concat_latent_image", "concat_mask")


@dataclass(frozen=True)
class FrameSlice:
    """Frames that one evaluation sees, of a clip of `clip` frames; windows evaluated together stand in a row."""

    frames: tuple[int, ...]
    clip: int

    def of(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """`[clip, ...]` cut to `[frames, ...]`; `[1, ...]` holds for all frames. Raises LoomError."""
        if tensor.ndim == 0 or tensor.shape[0] == 1:
            return tensor
        require_clip_length(name, tensor.shape[0], self.clip)
        return tensor[list(self.frames)]


def require_clip_length(name: str, length: int, clip: int) -> None:
    if length not in (1, clip):
        raise LoomError(
            f"{name} has {length} frames, but the clip has {clip}: give it {clip} frames, or one for all of them."
        )


def slice_conds(conds: list[dict] | None, part: FrameSlice, control: Callable) -> list[dict] | None:
    """The host's conds as a window sees them; `control` finds the window's own ControlNet for the clip's."""
    return None if conds is None else [_windowed(cond, part, control) for cond in conds]


def _windowed(cond: Mapping, part: FrameSlice, control: Callable) -> dict:
    windowed = dict(cond)
    for key, value in cond.items():
        if key == CONTROL:
            windowed[key] = control(value)
        elif key == UUID_KEY:
            windowed[key] = uuid.uuid5(value, repr(part.frames))
        elif key == MODEL_CONDS:
            windowed[key] = {name: _model_cond(name, value, part) for name, value in value.items()}
        elif isinstance(value, torch.Tensor) and (key == MASK or value.shape[:1] == (part.clip,)):
            windowed[key] = part.of(value, f"Conditioning '{key}'")
    return windowed


def _model_cond(name: str, value, part: FrameSlice):
    """`value` is of the host's `CONDRegular` kind, which holds a tensor, a list of tensors, or a constant."""
    content = getattr(value, "cond", None)
    if isinstance(content, torch.Tensor):
        return value._copy_with(part.of(content, f"Conditioning '{name}'"))
    if isinstance(content, list) and content and all(isinstance(item, torch.Tensor) for item in content):
        return value._copy_with([part.of(item, f"Conditioning '{name}'") for item in content])
    return value


def prompt_lengths(cond: Mapping) -> Iterator[tuple[str, int]]:
    """Name and number of frames of the features of a prompt."""
    for key in PROMPTS:
        if isinstance(cond.get(key), torch.Tensor):
            yield f"Conditioning '{key}'", cond[key].shape[0]


def per_frame_lengths(cond: Mapping) -> Iterator[tuple[str, int]]:
    """Name and number of frames of what a cond brings along, before the host has made it ready for the model."""
    yield from prompt_lengths(cond)
    for key in PICTURES:
        if isinstance(cond.get(key), torch.Tensor) and cond[key].ndim > 2:  # the host takes a lone mask without a batch
            yield f"Conditioning '{key}'", cond[key].shape[0]
    control = cond.get(CONTROL)
    while control is not None:
        if control.cond_hint_original is not None and not hasattr(control, "sub_idxs"):
            yield f"The image of {type(control).__name__}", control.cond_hint_original.shape[0]
        control = control.previous_controlnet


def require_clip_lengths(conds: Mapping[str, list[dict]], lengths: Callable, clip: int) -> None:
    """Refuse conds of which `lengths` finds a part that is neither for one frame nor for `clip` frames."""
    for cond in chain.from_iterable(conds.values()):
        for name, length in lengths(cond):
            require_clip_length(name, length, clip)
