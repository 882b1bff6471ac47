"""Tiny Stable Diffusion models and text encoders in the host's own classes, and a snapshot of its functions."""

import sys
from copy import deepcopy
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy_extras.nodes_model_advanced  # noqa: F401
import torch
from comfy import sd1_clip, sdxl_clip
from comfy.supported_models_base import ClipTarget
from synthetic_weights import KINDS
from synthetic_weights import unet_config as unet_config_of

import nodes
from tests.support.motion_files import random_weight

CONTEXT_WIDTH, POOLED_WIDTH = 32, 1280
CPU = torch.device("cpu")

_TINY = {"model_channels": 32, "context_dim": CONTEXT_WIDTH}
_SD15 = unet_config_of(KINDS["sd15"]) | _TINY
_SDXL = unet_config_of(replace(KINDS["sdxl_narrow"], multipliers=(1, 2, 4))) | _TINY
_SDXL |= {
    "num_head_channels": 8,
    "transformer_depth": [0, 0, 2, 2, 4, 4],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 4, 4, 4],
    "transformer_depth_middle": 4,
}
_CONFIGS = {
    "SD1.5": (comfy.supported_models.SD15, _SD15),
    "SD2": (comfy.supported_models.SD20, _SD15),
    "SDXL": (comfy.supported_models.SDXL, _SDXL),
}


def unet_config(base: str) -> dict:
    return deepcopy(_CONFIGS[base][1])


def tiny_model(base: str = "SD1.5", dtype: torch.dtype = torch.float32, **changes) -> comfy.model_patcher.ModelPatcher:
    """A MODEL of random weights, the same ones at every call; `changes` are of the UNet's configuration."""
    kind, config = _CONFIGS[base]
    config = config | changes
    model_config = kind(deepcopy(config))
    model_config.unet_config = deepcopy(config)
    model_config.set_inference_dtype(dtype, None)
    return _patcher(model_config)


def tiny_dit() -> comfy.model_patcher.ModelPatcher:
    """A MODEL that is no UNet: Stable Diffusion 3 with one block."""
    text = {"target": "torch.nn.Linear", "params": {"in_features": CONTEXT_WIDTH, "out_features": 64}}
    shape = {"depth": 1, "in_channels": 16, "adm_in_channels": 32, "input_size": None, "pos_embed_max_size": 8}
    model_config = comfy.supported_models.SD3(shape | {"context_embedder_config": text})
    model_config.set_inference_dtype(torch.float32, None)
    return _patcher(model_config)


def _patcher(model_config) -> comfy.model_patcher.ModelPatcher:
    model = model_config.get_model({}, device=CPU)
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.diffusion_model.state_dict(keep_vars=True).items():
        weight.data = random_weight(name, weight.shape, generator).to(weight.dtype)
    return comfy.model_patcher.CoreModelPatcher(model, CPU, CPU)


def copy_weights(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.model.state_dict().items()}


def same_weights(model, before: dict[str, torch.Tensor]) -> bool:
    now = model.model.state_dict()
    return now.keys() == before.keys() and all(torch.equal(now[name], tensor) for name, tensor in before.items())


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


def encode_text(clip: comfy.sd.CLIP, text: str) -> list:
    """The CONDITIONING that the host's CLIP Text Encode node makes."""
    return nodes.CLIPTextEncode().encode(clip, text)[0]


@dataclass
class RecordedEncoder:
    """In the place of one CLIP's method: calls it, and keeps what it was asked."""

    method: Any
    asked: list

    def __call__(self, *args, **kwargs):
        self.asked.append(args[0])
        return self.method(*args, **kwargs)


def record_encodings(clip: comfy.sd.CLIP) -> list:
    """Return a list that fills with what this very CLIP encodes."""
    clip.cond_stage_model.encode_token_weights = RecordedEncoder(clip.cond_stage_model.encode_token_weights, [])
    return clip.cond_stage_model.encode_token_weights.asked


def _fill(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for name, weight in module.state_dict(keep_vars=True).items():
        if weight.is_floating_point():
            weight.data = random_weight(name, weight.shape, generator).to(weight.dtype)


HOST_PACKAGES = (
    *("comfy", "comfy_api", "comfy_execution", "comfy_extras"),
    *("execution", "latent_preview", "node_helpers", "nodes", "torch.nn"),
)


def take_snapshot() -> dict[str, object]:
    """Return every function, class, method and class attribute of the host's and torch.nn's loaded modules by name."""
    snapshot: dict[str, object] = {}
    for name, module in list(sys.modules.items()):
        if _is_of_host(name) and isinstance(module, ModuleType):
            for attribute, value in list(vars(module).items()):
                if callable(value):
                    snapshot[f"{name}.{attribute}"] = value
                if isinstance(value, type) and _is_of_host(value.__module__):
                    snapshot |= {f"{name}.{attribute}.{key}": member for key, member in list(vars(value).items())}
    return snapshot


def changed_names(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """Return the names whose value in `after` is not the same object as in `before`."""
    return sorted(name for name, value in before.items() if after.get(name) is not value)


def _is_of_host(module: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in HOST_PACKAGES)
