"""Conds cut to a tile of the picture, and the refusal of those that cannot be cut."""

import uuid
from collections.abc import Mapping
from typing import Any

import torch
from comfy.conds import CONDNoiseShape
from comfy.samplers import get_area_and_mult
from einops import rearrange

from ...motion_modules.errors import LoomError
from ...motion_modules.tile import Tile
from .conds import AREA, BOUNDS, MASK, MODEL_CONDS, UUID_KEY, list_controls, slices_itself

MIN_SIDE = 8  # places of a latent that the model sees of an area, as the host has it
GLIGEN = "gligen"
READS_TILES = "reads_tiles"  # an attribute of control objects that cut their pictures to TILE in the options
READS_AREAS = "reads_areas"  # False for those of them that cannot follow the area of a prompt in a tile


def cut_conds(conds: list[dict] | None, tile: Tile, x: torch.Tensor, timestep: torch.Tensor) -> list[dict] | None:
    """Cut the host's conds for latents `x` to `tile`; conds whose area is outside of it are left out.

    ControlNets are cut later, together with their frames.
    """
    if conds is None:
        return None
    return [_cut_cond(cond, tile, x, timestep) for cond in conds if _reaches(cond, tile)]


def require_cuttable(conds: Mapping[str, list[dict]]) -> None:
    """Raise LoomError for an input of a prompt that belongs to the whole picture and cannot be cut."""
    for role, prompt_conds in conds.items():
        for cond in prompt_conds:
            if GLIGEN in cond:
                raise make_uncut_error(f"The GLIGEN box of the {role} prompt", "Remove GLIGEN Textbox Apply")
            for control in list_controls(cond):
                if slices_itself(control) and not getattr(control, READS_TILES, False):
                    name = type(control).__name__
                    subject = f"The ControlNet of another pack on the {role} prompt ({name})"
                    raise make_uncut_error(subject, "Use ComfyUI's own Apply ControlNet")
                if (AREA in cond or cond.get(BOUNDS)) and not getattr(control, READS_AREAS, True):
                    subject = f"A {type(control).__name__} on the area of the {role} prompt"
                    raise make_uncut_error(subject, "Set a mask instead of the area")


def make_uncut_error(subject: str, remedy: str) -> LoomError:
    return LoomError(
        f"{subject} cannot be cut into tiles. {remedy}, or set `tiles` of Apply Context Windows (AnimateDiff) to none."
    )


def _reaches(cond: Mapping, tile: Tile) -> bool:
    """Return whether a cond without an area, or part of its area, is in `tile`."""
    if AREA not in cond:
        return True
    height, width, top, left = _read_area(cond)
    return (
        top < tile.top + tile.height
        and tile.top < top + height
        and left < tile.left + tile.width
        and tile.left < left + width
    )


def _read_area(cond: Mapping) -> tuple[int, ...]:
    """Return the height, width, top and left of an area, which may have more dimensions for a video model."""
    area = cond[AREA]
    return *area[:2], *area[len(area) // 2 : len(area) // 2 + 2]


def _cut_cond(cond: Mapping, tile: Tile, x: torch.Tensor, timestep: torch.Tensor) -> dict:
    cut = {**cond, UUID_KEY: uuid.uuid5(cond[UUID_KEY], repr(tile))}
    if AREA in cond:
        cut[AREA] = _cut_area(cond, tile)
        cut[MASK] = tile.cut(_draw_area(cond, x, timestep))
    elif MASK in cond:
        cut[MASK] = tile.cut(cond[MASK])
    cut[MODEL_CONDS] = {name: _cut_model_cond(model_cond, tile) for name, model_cond in cond[MODEL_CONDS].items()}
    return cut


def _cut_model_cond(model_cond: Any, tile: Tile) -> Any:
    """Cut what the host cuts to an area: the latents beside those of an inpainting model."""
    return model_cond._copy_with(tile.cut(model_cond.cond)) if isinstance(model_cond, CONDNoiseShape) else model_cond


def _cut_area(cond: Mapping, tile: Tile) -> tuple[int, int, int, int]:
    """Return the part of an area that is in `tile`, as places of the tile; a narrow one is widened.

    Its mask keeps what is beside the area from counting.
    """
    height, width, top, left = _read_area(cond)
    rows, top = _cut_side(top - tile.top, height, tile.height)
    columns, left = _cut_side(left - tile.left, width, tile.width)
    return rows, columns, top, left


def _cut_side(start: int, length: int, side: int) -> tuple[int, int]:
    """Return the length and start of what lies between 0 and `side`, MIN_SIDE long at least if both sides are."""
    end, start = min(side, start + length), max(0, start)
    length = max(end - start, min(side, length, MIN_SIDE))
    return length, min(start, side - length)


def _draw_area(cond: Mapping, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """Return how much each place of the picture counts for an area, `[1 or frames, height, width]`, as the host has it.

    The host fades the edges of an area that has no mask.
    """
    area = {key: cond[key] for key in (AREA, MASK) if key in cond} | {MODEL_CONDS: {}, UUID_KEY: None}
    frames = len(cond[MASK]) if MASK in cond else 1
    height, width, top, left = _read_area(cond)
    drawn = x.new_zeros(frames, 1, *x.shape[-2:])
    weighed = get_area_and_mult(area, drawn, timestep)
    assert weighed is not None, "an area without a range of time always acts"
    drawn[..., top : top + height, left : left + width] = weighed.mult
    return rearrange(drawn, "frame 1 h w -> frame h w")
