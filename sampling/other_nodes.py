"""Functions that nodes of other packs put on a MODEL, which this pack can see but not know."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from comfy.patcher_extension import WrappersMP, get_all_wrappers

from .windows.conds import list_controls

HOST_PACKAGES = ("comfy", "comfy_extras", "comfy_api", "nodes")
PACK = __name__.removesuffix(".sampling.other_nodes")
DIVIDING_FUNCTIONS = ("context_handler", "sampler_calc_cond_batch_function", "model_function_wrapper")
DIVIDING_WRAPPERS = (
    WrappersMP.OUTER_SAMPLE,
    WrappersMP.SAMPLER_SAMPLE,
    WrappersMP.PREDICT_NOISE,
    WrappersMP.CALC_COND_BATCH,
    WrappersMP.APPLY_MODEL,
)


def is_from_another_pack(function: Any) -> bool:
    """Return whether neither the host nor this pack defines `function`, or the class of such an object."""
    while isinstance(function, partial):
        function = function.func
    module = getattr(function, "__module__", None) or ""
    return module.split(".")[0] not in HOST_PACKAGES and not module.startswith(f"{PACK}.")


def may_read_frames(conds: Sequence[list[dict] | None], options: dict) -> bool:
    """Return whether a ControlNet or a patch of another pack acts in the UNet, where it may read `ad_params`.

    `options` are the host's `transformer_options`. Such code expects the frames of a single window.
    """
    controls = (control for cond in chain.from_iterable(filter(None, conds)) for control in list_controls(cond))
    return any(is_from_another_pack(function) for function in chain(controls, _list_patches(options)))


def _list_patches(options: dict) -> Iterator:
    for patches in options.get("patches", {}).values():
        yield from (patch[1] if isinstance(patch, tuple) else patch for patch in patches)
    for patches in options.get("patches_replace", {}).values():
        yield from patches.values()


def may_divide_clip(model_options: dict) -> bool:
    """Return whether a node of another pack is where it could show the UNet a part of the clip at a time."""
    functions = [model_options[name] for name in DIVIDING_FUNCTIONS if model_options.get(name) is not None]
    for kind in DIVIDING_WRAPPERS:
        functions += get_all_wrappers(kind, model_options, is_model_options=True)
    return any(is_from_another_pack(function) for function in functions)
