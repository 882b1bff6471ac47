"""Networks of Loom Mini: a narrow SD1.5 UNet, text encoder and autoencoder, built from the host's classes.

The host must be importable. Networks are built on PyTorch's default device. The host leaves their
weights as unset memory: load or initialise them.
"""

from collections.abc import Mapping
from typing import Any

import comfy.model_management
import comfy.ops
import comfy.sd
import comfy.supported_models
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.model_base import BaseModel
from comfy.model_patcher import CoreModelPatcher
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer
from comfy.supported_models_base import ClipTarget

Weights = Mapping[str, torch.Tensor]

TEXT_WIDTH = 64
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 64,
    "channel_mult": [1, 1, 2, 2],
    "num_res_blocks": [2, 2, 2, 2],
    "num_heads": 2,
    "context_dim": TEXT_WIDTH,
    "transformer_depth": [1] * 6 + [0] * 2,
    "transformer_depth_output": [1] * 9 + [0] * 3,
    "transformer_depth_middle": 1,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
    "adm_in_channels": None,
    "legacy": False,
}
TEXT_ENCODER = {
    "hidden_size": TEXT_WIDTH,
    "intermediate_size": 4 * TEXT_WIDTH,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "hidden_act": "quick_gelu",
    "max_position_embeddings": 77,
    "eos_token_id": 49407,
    "vocab_size": 49408,
}
_AUTOENCODER = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 64,
    "in_channels": 3,
    "out_ch": 3,
    "attn_resolutions": [],
    "dropout": 0.0,
}
ENCODER = _AUTOENCODER | {"ch": 64, "ch_mult": [1, 1, 1, 1], "num_res_blocks": 0}
DECODER = _AUTOENCODER | {"ch": 32, "ch_mult": [1, 1, 2, 2], "num_res_blocks": 0}
LATENT_SCALE = 0.18215

PREFIXES = {"unet": "model.diffusion_model.", "text": "cond_stage_model.", "vae": "first_stage_model."}


def build_model(dtype: torch.dtype = torch.float32, cast_dtype: torch.dtype | None = None) -> BaseModel:
    """Build the image model with SD1.5's beta schedule; its UNet is `.diffusion_model`."""
    config = comfy.supported_models.SD15(dict(UNET))
    config.unet_config = dict(UNET)
    config.set_inference_dtype(dtype, cast_dtype)
    return config.get_model({}, device=torch.get_default_device())


def build_text_encoder(dtype: torch.dtype = torch.float32) -> Any:
    """Build the text encoder from plain layers, so that gradients reach them."""
    device = str(torch.get_default_device())
    return SD1ClipModel(device=device, dtype=dtype, model_options=_build_text_options(comfy.ops.disable_weight_init))


def build_autoencoder() -> AutoencoderKL:
    return AutoencoderKL(**_autoencoder_parameters())


def load_networks(checkpoint: Weights) -> tuple[CoreModelPatcher, comfy.sd.CLIP, comfy.sd.VAE]:
    """Return MODEL, CLIP and VAE of a `checkpoint`, for the host's nodes."""
    unet, text, vae = (select_network(checkpoint, part) for part in PREFIXES)
    return load_model(unet), load_text_encoder(text), load_autoencoder(vae)


def load_model(weights: Weights) -> CoreModelPatcher:
    """Load the MODEL for the host's samplers."""
    management = comfy.model_management
    device = management.get_torch_device()
    dtype = management.unet_dtype(device, weight_dtype=next(iter(weights.values())).dtype)
    model = build_model(dtype, management.unet_manual_cast(dtype, device))
    model.diffusion_model.load_state_dict(weights)
    return CoreModelPatcher(model, load_device=device, offload_device=management.unet_offload_device())


def load_text_encoder(weights: Weights) -> comfy.sd.CLIP:
    target = ClipTarget(SD1Tokenizer, SD1ClipModel)
    return comfy.sd.CLIP(target, state_dict=_add_clip_prefix(weights), model_options=_build_text_options(None))


def load_autoencoder(weights: Weights) -> comfy.sd.VAE:
    return comfy.sd.VAE(sd=weights, config={"params": _autoencoder_parameters()})


def select_network(checkpoint: Weights, part: str) -> dict[str, torch.Tensor]:
    """Return the tensors of one network, without its prefix."""
    prefix = PREFIXES[part]
    return {name.removeprefix(prefix): tensor for name, tensor in checkpoint.items() if name.startswith(prefix)}


def _add_clip_prefix(weights: Weights) -> Any:
    return {f"clip_l.{name}": tensor for name, tensor in weights.items()}


def _build_text_options(operations) -> dict[str, Any]:
    options: dict[str, Any] = {"clip_l_model_config": TEXT_ENCODER}
    return options | ({"custom_operations": operations} if operations else {})


def _autoencoder_parameters() -> dict[str, Any]:
    return {"ddconfig": dict(ENCODER), "decoder_ddconfig": dict(DECODER), "embed_dim": 4}
