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


def count_clip(frames: int = 16, size: int = 512, architecture: str = USUAL) -> Counts:
    """Return the operations of a step with CFG by part, and those of decoding the clip once."""
    return count_step(frames, size, architecture) | {"decoding": count_decoding(frames, size)}


def count_step(frames: int = 16, size: int = 512, architecture: str = USUAL) -> Counts:
    """Return the operations of one evaluation of the UNet with CFG: the layers of the UNet, and "motion modules".

    `architecture` is the key of a registered architecture. A fresh module of it runs at every site
    to which it has no objection.
    """
    unet, side = build_unet(), size // LATENT
    modules = create_on_meta(architecture, frames, size)
    all_sites = pack("motion_modules.unet.sites").unet_sites(unet)
    sites, inputs = {name: all_sites[name] for name in modules}, pack("motion_modules.contract").MotionInputs(frames)
    options = pack("training.bare_unet").bare_options(sites, modules, inputs)
    options["optimized_attention_override"] = attention_of_torch
    batch = CHUNKS * frames
    x, text = torch.zeros(batch, 4, side, side, device=META), torch.zeros(batch, 77, 768, device=META)
    counts = _count(lambda: unet(x, torch.zeros(batch, device=META), text, transformer_options=options))
    kinds = {type(module).__name__ for module in modules.values()}
    motion = sum(_total(counts, name) for name in counts if name in kinds)
    layers = {part: sum(_total(counts, name) for name in counts if name.endswith(end)) for end, part in LAYERS.items()}
    rest = _total(counts, "Global") - motion - sum(layers.values())
    return {"convolutions and projections": rest, **layers, "motion modules": motion}


def count_decoding(frames: int = 16, size: int = 512) -> int:
    """Return the operations with which the autoencoder decodes a clip."""
    decoder, side = build_decoder(), size // LATENT
    counts = _count(lambda: decoder(torch.zeros(1, 4, side, side, device=META)))
    return frames * _total(counts, "Global")


def create_on_meta(architecture: str, frames: int = 16, size: int = 512) -> Mapping[str, torch.nn.Module]:
    """Create fresh motion modules without memory for their weights, by site."""
    untrained, registry = pack("motion_modules.files.untrained"), pack("motion_modules.architectures.registry")
    clip = untrained.TargetClip(frames, height=size, width=size)
    specs = untrained.plan_modules(build_unet(), registry.architectures()[architecture], clip)
    with META:
        return untrained.create_modules(specs).by_site


def _count(work: Callable[[], object]) -> Mapping[str, Mapping]:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_flop_counts()


def _total(counts: Mapping[str, Mapping], name: str) -> int:
    return sum(counts.get(name, {}).values())
