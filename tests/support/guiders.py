"""Every guider node that the host ships, with the inputs of a test."""

import torch

from tests.support.citizen import CFG, FRAMES, call, host_node, sampler_custom_advanced
from tests.support.clips import prompt

POSITIVE, NEGATIVE, OTHER = prompt(2), prompt(3), prompt(4)
BOTH = {"positive": POSITIVE, "negative": NEGATIVE}
THREE = {"cond1": POSITIVE, "cond2": OTHER, "negative": NEGATIVE, "cfg_conds": 4.0, "cfg_cond2_negative": 3.0}
GUIDERS = {
    "BasicGuider": ("nodes_custom_sampler.BasicGuider", {"conditioning": POSITIVE}),
    "CFGGuider": ("nodes_custom_sampler.CFGGuider", {**BOTH, "cfg": CFG}),
    "DualCFGGuider": ("nodes_custom_sampler.DualCFGGuider", {**THREE, "style": "regular"}),
    "DualCFGGuider nested": ("nodes_custom_sampler.DualCFGGuider", {**THREE, "style": "nested"}),
    "DualModelGuider": ("nodes_custom_sampler.DualModelGuider", {**BOTH, "cfg": CFG}),
    "PerpNegGuider": (
        "nodes_perpneg.PerpNegGuider",
        {**BOTH, "empty_conditioning": OTHER, "cfg": CFG, "neg_scale": 1.0},
    ),
}


def guided(name: str, model, frames: int = FRAMES, **more) -> torch.Tensor:
    """The latents that SamplerCustomAdvanced makes with the guider of that name."""
    path, inputs = GUIDERS[name]
    return sampler_custom_advanced(call(host_node(path), model=model, **inputs, **more), frames)
