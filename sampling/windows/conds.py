"""Inputs with one entry per frame, cut to the frames of a window, and checked before sampling."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from comfy.controlnet import ControlBase

from ...motion_modules.errors import LoomError

MODEL_CONDS, CONTROL, MASK, AREA, UUID_KEY = "model_conds", "control", "mask", "area", "uuid"
BOUNDS = "set_area_to_bounds"  # whether the area is that of the mask
PROMPTS = ("cross_attn", "pooled_output")
PICTURES = {  # keys of a cond by their names for users
    MASK: "The mask of {prompt}",
    "concat_latent_image": "The image to inpaint of {prompt}",
    "concat_mask": "The inpainting mask of {prompt}",
}
PREPARED = {  # keys of a cond that the host has prepared for the model
    MASK: "The mask of a prompt",
    "c_crossattn": "A prompt",
    "y": "A prompt",
    "c_concat": "The image to inpaint or its mask",
}
CONTROL_IMAGE, CONTROL_MASK = "The control image of a ControlNet", "The mask of a ControlNet"


@dataclass(frozen=True)
class FrameSlice:
    """Frames of a clip of `total_frames` that one model call sees, those of several windows in a row."""

    frames: tuple[int, ...]
    total_frames: int

    @classmethod
    def cover(cls, total_frames: int) -> "FrameSlice":
        """Return the slice with all frames of a clip."""
        return cls(tuple(range(total_frames)), total_frames)

    def cut(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """Cut `[total_frames, ...]` to `[frames, ...]`; `[1, ...]` applies to all frames. `name` is for errors."""
        if tensor.ndim == 0 or tensor.shape[0] == 1:
            return tensor
        require_frame_count(name, tensor.shape[0], self.total_frames)
        return tensor[list(self.frames)]


def require_frame_count(name: str, count: int, total_frames: int) -> None:
    if count not in (1, total_frames):
        is_prompt = name.endswith("prompt") and " of " not in name
        schedule = f" (with Prompt Schedule, set `frames` to {total_frames})" if is_prompt else ""
        raise LoomError(
            f"{name} has {count} frames, but the clip has {total_frames}. "
            f"Provide {total_frames} frames, or one for all{schedule}."
        )


def _name_prepared(key: str) -> str:
    return PREPARED.get(key, f"The input '{key}' of a prompt")


def slice_conds(conds: list[dict] | None, part: FrameSlice, find_control: Callable) -> list[dict] | None:
    """Cut the host's conds to `part`.

    `find_control` returns the ControlNet of a window for that of the clip and the area of its cond.
    """
    return None if conds is None else [_slice_inputs(cond, part, find_control) for cond in conds]


def _slice_inputs(cond: Mapping, part: FrameSlice, find_control: Callable) -> dict:
    sliced = dict(cond)
    for key, value in cond.items():
        if key == CONTROL:
            sliced[key] = find_control(value, cond.get(AREA))
        elif key == UUID_KEY:
            sliced[key] = uuid.uuid5(value, repr(part.frames))
        elif key == MODEL_CONDS:
            sliced[key] = {name: _slice_model_cond(name, model_cond, part) for name, model_cond in value.items()}
        elif isinstance(value, torch.Tensor) and (key == MASK or value.shape[:1] == (part.total_frames,)):
            sliced[key] = part.cut(value, _name_prepared(key))
    return sliced


def _slice_model_cond(name: str, model_cond: Any, part: FrameSlice):
    """Cut the host's `CONDRegular` and its kin, which hold a tensor, a list of tensors, or a constant."""
    content = getattr(model_cond, "cond", None)
    if isinstance(content, torch.Tensor):
        return model_cond._copy_with(part.cut(content, _name_prepared(name)))
    if isinstance(content, list) and content and all(isinstance(item, torch.Tensor) for item in content):
        return model_cond._copy_with([part.cut(item, _name_prepared(name)) for item in content])
    return model_cond


def list_prompt_frame_counts(cond: Mapping, prompt: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of frames of each feature of a prompt, which is called `prompt` in errors."""
    for feature in _list_prompt_features(cond):
        yield prompt.capitalize(), feature.shape[0]


def have_same_prompts(conds: Mapping[str, list[dict]]) -> bool:
    """Return whether each prompt is the same for all frames, with its pictures and control images."""
    inputs = chain.from_iterable(map(_list_frame_inputs, chain.from_iterable(conds.values())))
    return all(have_equal_entries(frames) for frames in inputs if isinstance(frames, torch.Tensor) and frames.ndim > 1)


def _list_frame_inputs(cond: Mapping) -> Iterator:
    """Yield what may differ between frames, or hold for all of them."""
    yield from _list_prompt_features(cond)
    yield from (picture for _, picture in _list_pictures(cond))
    yield from (getattr(control, "cond_hint_original", None) for control in list_controls(cond))


def _list_prompt_features(cond: Mapping) -> Iterator[torch.Tensor]:
    return (cond[key] for key in PROMPTS if isinstance(cond.get(key), torch.Tensor))


def _list_pictures(cond: Mapping) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the name and the tensor of each mask and picture that has a batch; the host accepts a mask without one."""
    for key, name in PICTURES.items():
        if isinstance(cond.get(key), torch.Tensor) and cond[key].ndim > 2:
            yield name, cond[key]


def is_in_area(cond: Mapping, height: int, width: int) -> bool:
    """Return whether the host evaluates only a part of latents of this size for a cond that it has not yet prepared."""
    area = cond.get(AREA)
    if area is None:
        return bool(cond.get(BOUNDS)) and MASK in cond
    return min(area[1:3]) < 1 if area[0] == "percentage" else area[0] < height or area[1] < width


def have_equal_entries(frames: torch.Tensor) -> bool:
    """Return whether all frames of `[frames, ...]` are the same."""
    return all(torch.equal(frame, frames[0]) for frame in frames[1:])


def list_frame_counts(cond: Mapping, prompt: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of frames of each input of a cond that the host has not yet prepared."""
    yield from list_prompt_frame_counts(cond, prompt)
    for name, picture in _list_pictures(cond):
        yield name.format(prompt=prompt), picture.shape[0]
    for control in list_controls(cond):
        if not slices_itself(control) and control.cond_hint_original is not None:
            yield f"The control image of {prompt} ({type(control).__name__})", control.cond_hint_original.shape[0]


def list_controls(cond: Mapping) -> Iterator:
    """Yield the ControlNets of a cond, the last one of the chain first."""
    control = cond.get(CONTROL)
    while control is not None:
        yield control
        control = getattr(control, "previous_controlnet", None)


def slices_itself(control) -> bool:
    """Return whether `control` cuts its hints to a window: another pack's reads `ad_params`, as Advanced-ControlNet."""
    return hasattr(control, "sub_idxs") or not isinstance(control, ControlBase)


def require_matching_conds(conds: Mapping[str, list[dict]], list_counts: Callable, total_frames: int) -> None:
    """Raise LoomError when a number of frames that `list_counts` lists is neither 1 nor `total_frames`."""
    for role, prompt_conds in conds.items():
        for name, count in chain.from_iterable(list_counts(cond, f"the {role} prompt") for cond in prompt_conds):
            require_frame_count(name, count, total_frames)
