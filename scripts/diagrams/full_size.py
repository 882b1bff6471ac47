"""Stable Diffusion 1.5 in full size on torch's meta device: shapes without weights, from the code that really runs.

The host and the pack must be importable (loom_mini.host_tree).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from loom_mini.host_tree import pack
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
def unet() -> Any:
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    parts: dict[str, Any] = {"device": META, "dtype": torch.float32, "operations": comfy.ops.disable_weight_init}
    return UNetModel(**unet_config(KINDS["sd15"]), **parts)


@cache
def motion_modules() -> Mapping[str, torch.nn.Module]:
    """Fresh temporal transformers by the names of their sites."""
    fresh, registry = pack("motion_modules.files.untrained"), pack("motion_modules.architectures.registry")
    filled = fresh.plan_modules(unet(), registry.ARCHITECTURES[ARCHITECTURE], fresh.TargetClip())
    with META:
        return fresh.create_modules(filled).by_site


def blocks() -> list[Block]:
    """All blocks of the UNet in the order in which they run."""
    sites = {site.block: (name, site) for name, site in pack("motion_modules.unet.sites").unet_sites(unet()).items()}
    found = []
    halves = {"input": unet().input_blocks, "middle": [unet().middle_block], "output": unet().output_blocks}
    for half, parts in halves.items():
        for number, layers in enumerate(parts):
            name, site = sites.get((half, number), ("", None))
            kinds = tuple(type(layer).__name__ for layer in layers)
            sizes = (site.channels, site.shrinking) if site else (0, 0)
            found.append(Block(half, number, kinds, name, *sizes))
    return found


def unet_shapes() -> dict[str, Shape]:
    """What every motion module gets in one evaluation of the UNet; "in" and "out" are those of the UNet."""
    sites = pack("motion_modules.unet.sites").unet_sites(unet())
    modules, batch = motion_modules(), CHUNKS * FRAMES
    inputs = pack("motion_modules.contract").MotionInputs(FRAMES)
    shapes: dict[str, Shape] = {"in": (batch, 4, LATENT, LATENT)}
    hooks = [module.register_forward_hook(_keeps_input(shapes, name)) for name, module in modules.items()]
    options = pack("training.bare_unet").bare_options(sites, modules, inputs)
    options["optimized_attention_override"] = _attention_of_torch
    x, text = torch.zeros(shapes["in"], device=META), torch.zeros(batch, 77, 768, device=META)
    with torch.no_grad():
        shapes["out"] = tuple(unet()(x, torch.zeros(batch, device=META), text, transformer_options=options).shape)
    for hook in hooks:
        hook.remove()
    return shapes


def _attention_of_torch(chosen, *arguments, **options) -> torch.Tensor:
    """In place of what the host chooses for this machine, which asks the device for its free memory."""
    from comfy.ldm.modules.attention import attention_pytorch

    return attention_pytorch(*arguments, **options)


def module_shapes() -> dict[str, Shape]:
    """What the parts of one motion module make of the frames of one prompt."""
    attention, contract = pack("motion_modules.architectures.attention"), pack("motion_modules.contract")
    module: Any = motion_modules()[FIRST_SITE]
    shapes: dict[str, Shape] = {}
    parts = {"norm": "norm", "tokens": "proj_in", "feed-forward": "transformer_blocks.0.ff.net.0", "change": "proj_out"}
    hooks = [module.get_submodule(path).register_forward_hook(_keeps(shapes, name)) for name, path in parts.items()]

    def watch(query, key, heads: int, scale: float, source=None) -> None:
        positions, frames, channels = query.shape
        shapes["heads"] = (positions, heads, frames, channels // heads)
        shapes["attention"] = (positions, heads, frames, key.shape[1])

    x = torch.zeros(FRAMES, module.config.channels, LATENT, LATENT, device=META)
    inputs = contract.MotionInputs(FRAMES, host_options={attention.WATCHER: watch})
    with torch.no_grad():
        shapes |= {"feature map": tuple(x.shape), "result": tuple(module(x, inputs).shape)}
    for hook in hooks:
        hook.remove()
    return shapes


def _keeps(shapes: dict[str, Shape], name: str):
    def keep(module, given, result) -> None:
        shapes[name] = tuple(result.shape)

    return keep


def _keeps_input(shapes: dict[str, Shape], name: str):
    def keep(module, given, result) -> None:
        shapes[name] = tuple(given[0].shape)

    return keep


def picture_shape() -> Shape:
    """What the autoencoder makes of the latents of a clip, `[frames, channels, height, width]`."""
    from comfy.ldm.models.autoencoder import AutoencoderKL

    shape = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128}
    shape |= {"ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
    with META, torch.no_grad():
        autoencoder: Any = AutoencoderKL(ddconfig=shape, embed_dim=4)
        autoencoder.decoder.mid.attn_1 = torch.nn.Identity()  # keeps the shape, and asks the device for its free memory
        return tuple(autoencoder.decode(torch.zeros(FRAMES, 4, LATENT, LATENT)).shape)


def text_shape() -> Shape:
    """The features of one prompt: the places that CLIP's tokeniser fills, and the width that the UNet reads."""
    from comfy.sd1_clip import SD1Tokenizer

    (tokens,) = SD1Tokenizer().tokenize_with_weights("a red circle moving right")["l"]
    return 1, len(tokens), unet_config(KINDS["sd15"])["context_dim"]
