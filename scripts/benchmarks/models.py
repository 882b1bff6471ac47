"""Full-size models of random weights in memory."""

from typing import Any

import torch
from host.in_process import pack
from synthetic_motion import LAYOUTS, SD15_WIDTHS, motion_model_state_dict
from synthetic_weights import KINDS, unet_config

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def compute_in(dtype: str) -> None:
    """Do what the host's --fp32-unet, --bf16-unet and --fp16-unet do."""
    from comfy.cli_args import args

    args.fp32_unet, args.bf16_unet, args.fp16_unet = (dtype == name for name in DTYPES)


def random_sd15(dtype: str, kind: str = "sd15"):
    """Make an SD1.5 UNet in the host's patcher, of full size or of another of `KINDS`."""
    import comfy.model_management as management
    import comfy.model_patcher
    import comfy.supported_models

    config = comfy.supported_models.SD15(unet_config(KINDS[kind]))
    config.set_inference_dtype(DTYPES[dtype], None)
    model = config.get_model({}, device=torch.device("cpu"))
    for name, parameter in model.diffusion_model.named_parameters():
        _fill(name, parameter.requires_grad_(False))
    return comfy.model_patcher.CoreModelPatcher(
        model, load_device=management.get_torch_device(), offload_device=management.unet_offload_device()
    )


def random_motion_model(dtype: str):
    """Load a full-size AnimateDiff v3 motion model, as from its file."""
    tensors = random_motion_tensors(DTYPES[dtype])
    return pack("motion_modules.files.loading").motion_model_from_tensors(tensors, f"random v3 in {dtype}")


def random_motion_tensors(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    layout: dict[str, Any] = LAYOUTS["v3"]
    return motion_model_state_dict(SD15_WIDTHS, dtype=dtype, **layout)


def _fill(name: str, parameter: torch.Tensor) -> None:
    if parameter.ndim > 1:
        bound = (3.0 / parameter[0].numel()) ** 0.5
        parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound))
    else:
        parameter.fill_(1.0 if name.endswith("weight") else 0.0)
