"""Count the floating-point operations of a clip in full-size Stable Diffusion 1.5: the same on every machine.

torch counts them on its meta device, so that nothing is computed and no memory is needed. A
multiplication with an addition counts as two operations. Norms, activations and copies do not
count; they cost memory traffic, which only a measured time shows.
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from diagrams.full_size import META, attention_of_torch, build_decoder, build_unet
from host.in_process import pack
from torch.utils.flop_counter import FlopCounterMode

from . import Run
from .measuring import Figure

USUAL = "temporal_transformer"
SIZES = (256, 512, 768)
CHUNKS = 2  # with CFG, a prompt and a negative prompt
LATENT = 8  # pixels of the picture to one of the latent
LAYERS = {".attn1": "spatial self-attention", ".attn2": "attention to the text", ".ff": "feed-forward layers"}
Counts = dict[str, int]


def figures(run: Run) -> Iterator[Figure]:
    for size in SIZES:
        counts = count_clip(run.frames, size)
        text = ", ".join(f"{part} {operations / 1e12:.2f}" for part, operations in counts.items())
        yield Figure(f"10^12 operations, {size}x{size}, {run.frames} frames, CFG", text, details=counts)


def count_clip(frames: int = 16, size: int = 512) -> Counts:
    """Return the operations of one step with CFG by part, and those of decoding the clip once."""
    modules = {"motion modules": count_modules(frames, size), "decoding": count_decoding(frames, size)}
    return count_unet(frames, size) | modules


def count_unet(frames: int = 16, size: int = 512) -> Counts:
    """Return the operations of one evaluation of the UNet with CFG by kind of layer, without motion modules."""
    unet, batch, side = build_unet(), CHUNKS * frames, size // LATENT
    options = {"optimized_attention_override": attention_of_torch}
    x, text = torch.zeros(batch, 4, side, side, device=META), torch.zeros(batch, 77, 768, device=META)
    counts = _count(lambda: unet(x, torch.zeros(batch, device=META), text, transformer_options=options))
    layers = {part: sum(_total(counts, name) for name in counts if name.endswith(end)) for end, part in LAYERS.items()}
    return {"convolutions and projections": _total(counts, "Global") - sum(layers.values()), **layers}


def count_modules(frames: int = 16, size: int = 512, architecture: str = USUAL) -> int:
    """Return the operations of all motion modules in one evaluation of the UNet with CFG.

    `architecture` is the key of a registered one. It has a fresh module at every site to which it
    has no objection.
    """
    sites = pack("motion_modules.unet.sites").unet_sites(build_unet())
    total = 0
    for name, module in create_modules(architecture, frames, size).items():
        site, side = sites[name], size // LATENT
        clip = site.clip(frames, side, side)
        x = torch.zeros(CHUNKS * frames, site.channels, clip.height, clip.width, device=META)
        time = torch.zeros(len(x), site.time_channels, device=META)
        inputs = pack("motion_modules.contract").MotionInputs(frames, time_embedding=time)
        total += _total(_count(lambda module=module, x=x, inputs=inputs: module(x, inputs)), "Global")
    return total


def count_decoding(frames: int = 16, size: int = 512) -> int:
    """Return the operations with which the autoencoder decodes a clip."""
    decoder, side = build_decoder(), size // LATENT
    counts = _count(lambda: decoder(torch.zeros(1, 4, side, side, device=META)))
    return frames * _total(counts, "Global")


def create_modules(architecture: str, frames: int = 16, size: int = 512) -> Mapping[str, torch.nn.Module]:
    """Create fresh motion modules by site, without memory for their weights."""
    untrained, registry = pack("motion_modules.files.untrained"), pack("motion_modules.architectures.registry")
    clip = untrained.TargetClip(frames, height=size, width=size)
    specs = untrained.plan_modules(build_unet(), registry.architectures()[architecture], clip)
    with META:
        return untrained.create_modules(specs).by_site


def count_weights(*modules: torch.nn.Module) -> int:
    return sum(weight.numel() for module in modules for weight in module.parameters())


def _count(work: Callable[[], object]) -> Mapping[str, Mapping]:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_flop_counts()


def _total(counts: Mapping[str, Mapping], name: str) -> int:
    return sum(counts.get(name, {}).values())
