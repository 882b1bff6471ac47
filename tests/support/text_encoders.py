"""The host's own CLIP of SD1.5 and of SDXL with tiny text encoders, and a MODEL of the widths that they make."""

from dataclasses import dataclass
from typing import Any

import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import torch
from comfy import sd1_clip, sdxl_clip
from comfy.supported_models_base import ClipTarget

import nodes
from tests.support.host_models import CPU, unet_config
from tests.support.motion_files import random_weight

WIDTH_L, WIDTH_G, SIZES_OF_SDXL = 16, 32, 6 * 256
_LAYERS = {"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
_ENCODERS = {
    "clip_l_model_config": _LAYERS | {"hidden_size": WIDTH_L},
    "clip_g_model_config": _LAYERS | {"hidden_size": WIDTH_G},
}
_TARGETS = {
    "SD1.5": (sd1_clip.SD1Tokenizer, sd1_clip.SD1ClipModel),
    "SDXL": (sdxl_clip.SDXLTokenizer, sdxl_clip.SDXLClipModel),
}
_UNETS = {
    "SD1.5": (comfy.supported_models.SD15, {"context_dim": WIDTH_L}),
    "SDXL": (
        comfy.supported_models.SDXL,
        {"context_dim": WIDTH_L + WIDTH_G, "adm_in_channels": WIDTH_G + SIZES_OF_SDXL},
    ),
}


def tiny_clip(base: str = "SD1.5", embeddings: str | None = None) -> comfy.sd.CLIP:
    """A CLIP of random weights, the same ones at every call; `embeddings`: a folder of textual inversions."""
    target = ClipTarget(*_TARGETS[base])
    clip = comfy.sd.CLIP(target, embedding_directory=embeddings, model_options=_ENCODERS)
    _fill(clip.cond_stage_model)
    return clip


def tiny_model_for_text(base: str = "SD1.5") -> comfy.model_patcher.ModelPatcher:
    """A MODEL of random weights that takes what `tiny_clip` gives."""
    kind, widths = _UNETS[base]
    config = unet_config(base) | widths
    model_config = kind(dict(config))
    model_config.unet_config = dict(config)
    model_config.set_inference_dtype(torch.float32, None)
    model = model_config.get_model({}, device=CPU)
    _fill(model.diffusion_model)
    return comfy.model_patcher.CoreModelPatcher(model, CPU, CPU)


def encode(clip: comfy.sd.CLIP, text: str) -> list:
    """The CONDITIONING that the host's CLIP Text Encode node makes."""
    return nodes.CLIPTextEncode().encode(clip, text)[0]


@dataclass
class Counted:
    """In the place of one CLIP's method: calls it, and keeps what it was asked."""

    method: Any
    asked: list

    def __call__(self, *args, **kwargs):
        self.asked.append(args[0])
        return self.method(*args, **kwargs)


def counted(clip: comfy.sd.CLIP) -> list:
    """What this very CLIP will have encoded."""
    clip.cond_stage_model.encode_token_weights = Counted(clip.cond_stage_model.encode_token_weights, [])
    return clip.cond_stage_model.encode_token_weights.asked


def _fill(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for name, weight in module.state_dict(keep_vars=True).items():
        if weight.is_floating_point():
            weight.data = random_weight(name, weight.shape, generator).to(weight.dtype)
