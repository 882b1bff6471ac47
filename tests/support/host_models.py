"""Tiny Stable Diffusion UNets in the host's own model classes and model patcher."""

from copy import deepcopy

import comfy.model_patcher
import comfy.supported_models
import torch

from tests.support.motion_files import random_weight

CONTEXT_WIDTH, POOLED_WIDTH = 32, 1280
CPU = torch.device("cpu")

_COMMON = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "use_spatial_transformer": True,
    "context_dim": CONTEXT_WIDTH,
    "legacy": False,
}
_SD15 = _COMMON | {
    "num_res_blocks": [2] * 4,
    "channel_mult": [1, 2, 4, 4],
    "num_heads": 8,
    "transformer_depth": [1] * 6 + [0] * 2,
    "transformer_depth_output": [1] * 9 + [0] * 3,
    "transformer_depth_middle": 1,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
}
_SDXL = _COMMON | {
    "num_res_blocks": [2] * 3,
    "channel_mult": [1, 2, 4],
    "num_head_channels": 8,
    "transformer_depth": [0, 0, 2, 2, 4, 4],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 4, 4, 4],
    "transformer_depth_middle": 4,
    "use_linear_in_transformer": True,
    "adm_in_channels": 2816,
    "num_classes": "sequential",
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


def copied_weights(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.model.state_dict().items()}


def same_weights(model, before: dict[str, torch.Tensor]) -> bool:
    now = model.model.state_dict()
    return now.keys() == before.keys() and all(torch.equal(now[name], tensor) for name, tensor in before.items())
