"""The number of frames in each clip of a batch that the UNet receives.

A batch holds one clip after another: one for each cond of the host, times the windows of this pack
and the tiles of other nodes that are evaluated at once. The host lists the conds only, so the
frames of a clip come from the window or from the latent. Several tiles of the same cond, in any
order, are then separate clips.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from einops import rearrange

from ..contract import WHOLE, Windowing, frames_per_chunk
from ..errors import LoomError
from ..run_state import AD_PARAMS, CALL_FRAMES, CONTEXT_WINDOW, MOTION_RUN, WINDOWING, count_conds

WRAPPERS = "wrappers"  # in the host's transformer_options


def list_recording_wrappers(model_options: dict) -> dict:
    """Return the host's wrappers with one more inside all others, which may divide the frames."""
    wrappers = model_options["transformer_options"].get(WRAPPERS, {})
    kind = WrappersMP.CALC_COND_BATCH
    return {**wrappers, kind: {**wrappers.get(kind, {}), CALL_FRAMES: [record_call_frames]}}


def record_call_frames(executor, model, conds, x_in, timestep, model_options):
    """Record the number of frames that the host evaluates at once. Wraps the host's `calc_cond_batch`."""
    options = {**model_options.get("transformer_options", {}), CALL_FRAMES: x_in.shape[0]}
    return executor(model, conds, x_in, timestep, {**model_options, "transformer_options": options})


def find_clip_frames(batch: int, options: Mapping[str, Any], prompts: torch.Tensor | None = None) -> int:
    """Return the number of frames in each clip of a `batch`; `options` are the host's `transformer_options`.

    `prompts` are the text features of the batch, `[batch, tokens, width]`.

    The first of these that divides each cond's share of the batch holds: a window of this pack, of
    the host, of another pack (`ad_params`), the frames that the host evaluates at once, the latent.
    A share below all of them is a window that no option describes. Where the batch could also be all
    of a clip for fewer conds, the prompts decide: the options of the host are the same in both cases.
    Raise LoomError when clips cannot be told apart.
    """
    conds = count_conds(options)
    counts = _list_frame_counts(options)
    for frames in counts:
        if batch % (conds * frames) == 0:
            return frames
    if not counts or _is_unlisted_window(batch, conds, counts, prompts):
        return frames_per_chunk(batch, conds)
    raise LoomError(
        f"The UNet received a batch of {batch} for {conds} conds of {counts[0]} frames, expected a multiple of "
        f"{conds * counts[0]}. Remove the node that divides the batch inside the model, or divide a long clip with "
        "Apply Context Windows (AnimateDiff) instead."
    )


def _is_unlisted_window(batch: int, conds: int, counts: list[int], prompts: torch.Tensor | None) -> bool:
    """Return whether a batch holds part of a clip for each cond, and not all of a clip for fewer conds."""
    is_part = batch % conds == 0 and 2 * conds <= batch < conds * min(counts)
    return is_part and (all(batch % frames for frames in counts) or _differ_by_cond(prompts, batch, conds))


def _differ_by_cond(prompts: torch.Tensor | None, batch: int, conds: int) -> bool:
    """Return whether each of `conds` equal parts of a batch has one prompt, and the next part another one."""
    if prompts is None or len(prompts) != batch:
        return False
    parts = rearrange(prompts, "(cond frame) token width -> cond frame token width", cond=conds)
    return torch.equal(parts, parts[:, :1].expand_as(parts)) and not any(
        torch.equal(part, following) for part, following in pairwise(parts[:, 0])
    )


def _list_frame_counts(options: Mapping[str, Any]) -> list[int]:
    """Return the possible numbers of frames in a clip, the most specific one first."""
    windowing: Windowing = options.get(WINDOWING, WHOLE)
    if windowing.frames:
        return [windowing.frames]
    run = options.get(MOTION_RUN)
    counts = (
        _count_host_window(options.get(CONTEXT_WINDOW)),
        _count_published_window(options.get(AD_PARAMS)),
        options.get(CALL_FRAMES),
        run.frames if run else None,
    )
    return [count for count in counts if count]


def _count_host_window(window: Any) -> int:
    """Return the number of frames of a window of the host, with the frame that it may put before them."""
    if getattr(window, "dim", 0) != 0:
        return 0
    anchor = getattr(window, "causal_anchor_index", None)
    return len(getattr(window, "index_list", ())) + (anchor is not None and anchor >= 0)


def _count_published_window(ad_params: Any) -> int:
    """Return the number of frames of a window in `ad_params`, which may list several windows in a row."""
    frames = len((ad_params or {}).get("sub_idxs") or ())
    length = ad_params.get("context_length") if frames else None
    return length if length and frames % length == 0 else frames
