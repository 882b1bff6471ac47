"""The host's hooks on conditionings, as its nodes make them."""

import comfy.hooks

from tests.support.citizen import call, host_node, lora


def hooked(hooks, text):
    node = host_node("nodes_hooks.ConditioningSetProperties")
    return call(node, cond_NEW=text, strength=1.0, set_cond_area="default", hooks=hooks)


def only_from(percent: float, hooks):
    """The hooks, with no effect before `percent` of the schedule."""
    keyframe, frames = host_node("nodes_hooks.CreateHookKeyframe"), None
    for strength, start in ((0.0, 0.0), (1.0, percent)):
        frames = call(keyframe, strength_mult=strength, start_percent=start, prev_hook_kf=frames)
    return call(host_node("nodes_hooks.SetHookKeyframes"), hooks=hooks, hook_kf=frames)


def lora_hooks():
    return comfy.hooks.create_hook_lora(lora=lora(), strength_model=1.0, strength_clip=0.0)
