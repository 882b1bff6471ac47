"""Functions that nodes of other packs put on a MODEL, which this pack can see but not know."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from comfy.hooks import EnumHookType
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
READING_WRAPPERS = (WrappersMP.CALC_COND_BATCH, WrappersMP.APPLY_MODEL, WrappersMP.DIFFUSION_MODEL)


def is_from_another_pack(function: Any) -> bool:
    """Return whether neither the host nor this pack defines `function`, or the class of such an object."""
    while isinstance(function, partial):
        function = function.func
    module = getattr(function, "__module__", None) or ""
    return module.split(".")[0] not in HOST_PACKAGES and not module.startswith(f"{PACK}.")


def may_read_frames(conds: Sequence[list[dict] | None], model_options: dict) -> bool:
    """Return whether code of another pack acts in the model, where it may read `ad_params`.

    This may be a ControlNet, a patch or a wrapper, on the model or in a hook of a cond. Such code
    expects the frames of a single window.
    """
    all_conds = list(chain.from_iterable(filter(None, conds)))
    functions = chain(chain.from_iterable(map(list_controls, all_conds)), _list_model_functions(model_options))
    return any(is_from_another_pack(function) for function in chain(functions, _list_hook_functions(all_conds)))


def _list_model_functions(model_options: dict) -> Iterator:
    yield from filter(None, [model_options.get("model_function_wrapper")])
    yield from _list_functions(model_options["transformer_options"])


def _list_hook_functions(conds: Sequence[dict]) -> Iterator:
    """Yield the functions of hooks that act for one cond only; the host puts the others on the model."""
    groups = [cond["hooks"] for cond in conds if cond.get("hooks") is not None]
    for hook in chain.from_iterable(group.get_type(EnumHookType.TransformerOptions) for group in groups):
        yield from _list_functions(hook.transformers_dict or {})


def _list_functions(options: dict) -> Iterator:
    """Yield the wrappers around one evaluation and the patches in `options`, the host's `transformer_options`."""
    for kind in READING_WRAPPERS:
        yield from get_all_wrappers(kind, options)
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
