"""Stable Diffusion 1.5 in full size on torch's meta device: shapes without weights, from the code that really runs.

The host and the pack must be importable (host.in_process).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from host.in_process import pack
from synthetic_weights import KINDS, unet_config

FRAMES, LATENT, CHUNKS = 16, 64, 2  # a clip of 512 pixels, with a prompt and a negative prompt
FIRST_SITE = "down_blocks.0.motion_modules.0"
ARCHITECTURE = "temporal_transformer"
META = torch.device("meta")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """A block of the UNet: its place (as the host counts), its layers in order, and the site of its motion module."""

    half: str
    number: int
    layers: tuple[str, ...]
    site: str
    channels: int
    shrinking: int


@cache
def build_unet() -> Any:
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    parts: dict[str, Any] = {"device": META, "dtype": torch.float32, "operations": comfy.ops.disable_weight_init}
    return UNetModel(**unet_config(KINDS["sd15"]), **parts)


@cache
def build_motion_modules() -> Mapping[str, torch.nn.Module]:
    """Build untrained temporal transformers, by the names of their sites."""
    fresh, registry = pack("motion_modules.files.untrained"), pack("motion_modules.architectures.registry")
    filled = fresh.plan_modules(build_unet(), registry.ARCHITECTURES[ARCHITECTURE], fresh.TargetClip())
    with META:
        return fresh.create_modules(filled).by_site


def list_blocks() -> list[Block]:
    """Return all blocks of the UNet in the order in which they run."""
    unet, blocks = build_unet(), []
    sites = {site.block: (name, site) for name, site in pack("motion_modules.unet.sites").unet_sites(unet).items()}
    halves = {"input": unet.input_blocks, "middle": [unet.middle_block], "output": unet.output_blocks}
    for half, parts in halves.items():
        for number, layers in enumerate(parts):
            name, site = sites.get((half, number), ("", None))
            kinds = tuple(type(layer).__name__ for layer in layers)
            sizes = (site.channels, site.shrinking) if site else (0, 0)
            blocks.append(Block(half, number, kinds, name, *sizes))
    return blocks


def trace_unet() -> dict[str, Shape]:
    """Return the input shape of every motion module in one evaluation of the UNet, and those of its "in" and "out"."""
    sites = pack("motion_modules.unet.sites").unet_sites(build_unet())
    modules, batch = build_motion_modules(), CHUNKS * FRAMES
    inputs = pack("motion_modules.contract").MotionInputs(FRAMES)
    shapes: dict[str, Shape] = {"in": (batch, 4, LATENT, LATENT)}
    hooks = [module.register_forward_hook(_record_input(shapes, name)) for name, module in modules.items()]
    options = pack("training.bare_unet").bare_options(sites, modules, inputs)
    options["optimized_attention_override"] = attention_of_torch
    x, text = torch.zeros(shapes["in"], device=META), torch.zeros(batch, 77, 768, device=META)
    with torch.no_grad():
        shapes["out"] = tuple(build_unet()(x, torch.zeros(batch, device=META), text, transformer_options=options).shape)
    for hook in hooks:
        hook.remove()
    return shapes


def attention_of_torch(chosen, *arguments, **options) -> torch.Tensor:
    """Replace the attention that the host chooses for this machine, which asks the device for its free memory."""
    from comfy.ldm.modules.attention import attention_pytorch

    return attention_pytorch(*arguments, **options)


def trace_module() -> dict[str, Shape]:
    """Return the shapes inside of one motion module, for the frames of one prompt."""
    tap, contract = pack("motion_modules.attention_tap"), pack("motion_modules.contract")
    module: Any = build_motion_modules()[FIRST_SITE]
    shapes: dict[str, Shape] = {}
    parts = {"norm": "norm", "tokens": "proj_in", "feed-forward": "transformer_blocks.0.ff.net.0", "change": "proj_out"}
    hooks = [
        module.get_submodule(path).register_forward_hook(_record_output(shapes, name)) for name, path in parts.items()
    ]

    def watch(call, q, k, v) -> None:
        positions, frames, channels = q.shape
        shapes["heads"] = (positions, call.heads, frames, channels // call.heads)
        shapes["attention"] = (positions, call.heads, frames, k.shape[1])

    x = torch.zeros(FRAMES, module.config.channels, LATENT, LATENT, device=META)
    inputs = contract.MotionInputs(FRAMES, taps=tap.ModuleTaps((watch,), module))
    with torch.no_grad():
        shapes |= {"feature map": tuple(x.shape), "result": tuple(module(x, inputs).shape)}
    for hook in hooks:
        hook.remove()
    return shapes


def _record_output(shapes: dict[str, Shape], name: str):
    def record(module, inputs, result) -> None:
        shapes[name] = tuple(result.shape)

    return record


def _record_input(shapes: dict[str, Shape], name: str):
    def record(module, inputs, result) -> None:
        shapes[name] = tuple(inputs[0].shape)

    return record


@cache
def build_decoder() -> Any:
    """Build the decoder on the meta device, with an attention that asks no device for its free memory."""
    from comfy.ldm.modules.diffusionmodules.model import pytorch_attention

    decoder = create_decoder(META)
    decoder[1].mid.attn_1.optimized_attention = pytorch_attention
    return decoder


def create_decoder(device: torch.device) -> Any:
    """Create the decoder of the autoencoder with the layer before it, which turn latents into pictures."""
    from comfy.ldm.models.autoencoder import AutoencoderKL

    shape = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128}
    shape |= {"ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
    with device:
        autoencoder: Any = AutoencoderKL(ddconfig=shape, embed_dim=4)
    return torch.nn.Sequential(autoencoder.post_quant_conv, autoencoder.decoder)


def trace_decoder() -> Shape:
    """Return the shape of a decoded clip, `[frames, channels, height, width]`."""
    with torch.no_grad():
        return tuple(build_decoder()(torch.zeros(FRAMES, 4, LATENT, LATENT, device=META)).shape)


def measure_text() -> Shape:
    """Return the shape of one prompt's features: the number of CLIP's tokens, and the width that the UNet reads."""
    from comfy.sd1_clip import SD1Tokenizer

    (tokens,) = SD1Tokenizer().tokenize_with_weights("a red circle moving right")["l"]
    return 1, len(tokens), unet_config(KINDS["sd15"])["context_dim"]
