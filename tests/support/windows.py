"""The Context Windows nodes of the pack and of the host, and what a windowed model was asked."""

import inspect

from animatediff_loom.nodes.context_windows import ContextWindows
from comfy.context_windows import ContextFuseMethods, ContextSchedules
from comfy.patcher_extension import WrappersMP

from tests.support.citizen import call, host_node

LENGTH, OVERLAP, HOST_LENGTH = 4, 1, 3
DIVIDING = ("static", "uniform", "looped", "batched")


def in_windows(model, schedule: str = "static", length: int = LENGTH, overlap: int = OVERLAP, **more):
    """What the node returns; inputs of the schedule are given like all the others."""
    nested = {name: more.pop(name) for name in ("context_stride", "closed_loop") if name in more}
    inputs = {"context_length": length, "context_overlap": overlap, "fuse": "pyramid"} | more
    return call(ContextWindows, model=model, schedule={"schedule": schedule, **nested}, **inputs)


def published(model) -> tuple:
    """A clone of `model`, and a list that fills with the options and the control of every evaluation of its UNet."""
    clone, seen = model.clone(), []

    def keep(executor, x, timesteps, context, y=None, control=None, transformer_options=None, **kwargs):
        kept = {name: list(features) for name, features in (control or {}).items()}  # the UNet empties the lists
        seen.append({"options": transformer_options, "control": kept, "x": x, "context": context, "y": y})
        return executor(x, timesteps, context, y, control, transformer_options, **kwargs)

    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", keep)
    return clone, seen


def windowed_by_host(model, **more):
    """A clone with windows of 3 frames that do not overlap, unless `more` says otherwise."""
    node = host_node("nodes_context_windows.ContextWindowsManualNode")
    inputs = {
        "context_length": HOST_LENGTH,
        "context_overlap": 0,
        "context_schedule": ContextSchedules.STATIC_STANDARD,
        "context_stride": 1,
        "closed_loop": False,
        "fuse_method": ContextFuseMethods.PYRAMID,
        "dim": 0,
        "freenoise": False,
        "causal_window_fix": False,
    }
    known = inspect.signature(node.execute).parameters
    return call(node, model=model, **{name: value for name, value in (inputs | more).items() if name in known})
