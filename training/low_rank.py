"""Low-rank changes of the weights of motion modules, which training learns and a motion LoRA file holds."""

import json
import re
from collections.abc import Iterable, Mapping

import torch
from comfy.model_patcher import ModelPatcher
from torch import nn

from ..motion_modules.contract import Tensors
from ..motion_modules.errors import LoomError

ORIGINAL, DIFFUSERS = "AnimateDiff", "diffusers"
ATTENTION, ATTENTION_AND_FEED_FORWARD = "attention", "attention and feed-forward"
TARGETS = {
    ATTENTION: r"\.to_(q|k|v|out\.0)\.weight$",
    ATTENTION_AND_FEED_FORWARD: r"\.(to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2))\.weight$",
}


class LowRank(nn.Module):
    """W + up @ down for a weight W `[height, width]`, which it leaves as it is at first (Hu et al. 2021, section 4.1).

    `down` has the standard deviation 1 / rank, and `up` is zero, as in AnimateDiff's motion LoRAs.
    The scale is 1: a file of these has no alpha.
    """

    def __init__(self, shape: Iterable[int], rank: int, generator: torch.Generator):
        super().__init__()
        height, width = shape
        self.down = nn.Parameter(torch.randn(rank, width, generator=generator) / rank)
        self.up = nn.Parameter(torch.zeros(height, rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + (self.up @ self.down).to(weight.dtype)

    def move_to(self, device: torch.device) -> int:
        """Move to `device` and return the bytes there. The host calls it, as it does for its own adapters."""
        self.to(device)
        return sum(parameter.nbytes for parameter in self.parameters())


class MotionLoraLayers(nn.Module):
    """The low-rank changes of several weights: `layers[i]` changes the weight that `names[i]` names in the patcher."""

    def __init__(self, shapes: Mapping[str, Iterable[int]], rank: int, seed: int):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.names = tuple(shapes)
        self.layers = nn.ModuleList(LowRank(shape, rank, generator) for shape in shapes.values())

    def put_on(self, patcher: ModelPatcher) -> None:
        """Let the layers of `patcher` compute with changed weights, by the host's own wrappers of weights."""
        for name, layer in zip(self.names, self.layers, strict=True):
            patcher.add_weight_wrapper(name, layer)

    def file_tensors(self) -> Tensors:
        """Return copies of the factors under the keys of published motion LoRAs."""
        tensors: Tensors = {}
        for name, layer in zip(self.names, self.layers, strict=True):
            for part, factor in layer.named_parameters():
                tensors[spell_key(name, part)] = factor.detach().float().cpu().clone()
        return tensors


def choose_weights(patcher: ModelPatcher, sites: Iterable[str], targets: str) -> dict[str, torch.Size]:
    """Return the shapes of the weights to change, by name; raise LoomError where there are none at these `sites`."""
    starts = tuple(f"{site}." for site in sites)
    weights = patcher.model.state_dict()
    shapes = {
        name: weight.shape
        for name, weight in weights.items()
        if name.startswith(starts) and re.search(TARGETS[targets], name) and weight.ndim == 2
    }
    if not shapes:
        raise LoomError(
            f"No motion module at these sites has layers for `targets` '{targets}', which a motion LoRA could change. "
            "Train the whole motion model instead, or choose other `sites`."
        )
    return shapes


def spell_key(weight: str, part: str) -> str:
    """Return the key of a factor, `part` "down" or "up", in the spelling of the published motion LoRAs.

    `….attention_blocks.0.to_out.0.weight` becomes `….attention_blocks.0.processor.to_out_lora.down.weight`,
    and layers of a feed-forward network get the keys of MotionDirector.
    """
    layer = weight.removesuffix(".weight").replace(".to_out.0", ".to_out")
    start, _, name = layer.rpartition(".")
    return f"{start}.processor.{name}_lora.{part}.weight"


def spell_for_diffusers(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the tensors of `MotionLoraLayers.file_tensors` under the keys that diffusers loads, those of PEFT."""
    return {_spell_for_diffusers(key): tensor for key, tensor in tensors.items()}


FORMATS = {ORIGINAL: dict, DIFFUSERS: spell_for_diffusers}


def _spell_for_diffusers(key: str) -> str:
    key = key.replace(".temporal_transformer.", ".").replace(".processor.", ".")
    key = key.replace(".attention_blocks.0.", ".attn1.").replace(".attention_blocks.1.", ".attn2.")
    key = key.replace(".to_out_lora.", ".to_out.0_lora.")
    return "unet." + key.replace("_lora.down.", ".lora_A.").replace("_lora.up.", ".lora_B.")


def build_metadata(facts: Mapping[str, object]) -> dict[str, str]:
    """Return `facts` about a training as the metadata of a safetensors file, whose values are texts."""
    return {
        "format": "pt",
        **{name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()},
    }
