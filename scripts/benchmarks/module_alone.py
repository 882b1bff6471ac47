"""A motion module alone: ours over diffusers', with the same weights and input."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from host.in_process import pack

from . import Run
from .measuring import (
    TOLERANCES,
    Figure,
    alternate,
    compare,
    compare_memory,
    measure_time,
    peak_memory,
    require_agreement,
)
from .models import DTYPES

SHAPES = ((320, 64), (640, 32), (1280, 16))
CHUNKS, FRAMES, POSITIONS, HEADS = 2, 16, 32, 8
TIME_AT_MOST = {"fp32": 1.0, "bf16": 0.75}
MEMORY_AT_MOST = 0.5
DIFFUSERS_NAMES = {"attention_blocks.0": "attn1", "attention_blocks.1": "attn2"} | {
    "norms.0": "norm1",
    "norms.1": "norm2",
    "ff_norm": "norm3",
    "attn1.pos_encoder": "pos_embed",
}


def figures(run: Run) -> Iterator[Figure]:
    try:
        import diffusers  # noqa: F401
    except ImportError:
        yield Figure("module", "skipped, since diffusers is not installed here")
        return
    for dtype in run.dtypes:
        for channels, side in SHAPES:
            yield from _compare(run, dtype, channels, side)


@torch.inference_mode()
def _compare(run: Run, dtype: str, channels: int, side: int) -> Iterator[Figure]:
    name = f"module {channels} x {side}x{side} {dtype}"
    x = torch.randn(CHUNKS * FRAMES, channels, side, side, device=run.device, dtype=DTYPES[dtype])
    ours, theirs = _modules(channels, run.device, DTYPES[dtype])
    inputs = pack("motion_modules.contract").MotionInputs(FRAMES)
    works = {"ours": lambda: ours(x, inputs), "diffusers": lambda: theirs(x, num_frames=FRAMES)}
    note = require_agreement(name, _comparable_results(ours, works), TOLERANCES[dtype])
    contestants = {who: lambda work=work: measure_time(work, run.device) for who, work in works.items()}
    yield compare(name, alternate(contestants, run.repetitions), run.device, TIME_AT_MOST.get(dtype), note)
    peaks = {who: peak_memory(work) for who, work in works.items()}
    yield compare_memory(f"{name}, peak extra memory", peaks, MEMORY_AT_MOST)


def _comparable_results(ours, works) -> dict[str, torch.Tensor]:
    """Run both once, ours with all frames under one norm, since diffusers has no other; this also warms them up."""
    usual_config, ours.config = ours.config, replace(ours.config, norm_over_frames=True)
    results = {who: work() for who, work in works.items()}
    ours.config = usual_config
    return results


def _modules(channels: int, device: torch.device, dtype: torch.dtype):
    import comfy.ops
    from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D

    transformer = pack("motion_modules.architectures.temporal_transformer")
    config = transformer.TemporalTransformerConfig(channels, POSITIONS)
    ours = transformer.TemporalTransformer(config, comfy.ops.manual_cast, device=device, dtype=dtype)
    for name, parameter in ours.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0, channels**-0.5)
    for table in ours.buffers():
        table.copy_(pack("motion_modules.architectures.positional_encoding").sinusoidal_positions(POSITIONS, channels))
    theirs = AnimateDiffTransformer3D(
        HEADS, channels // HEADS, in_channels=channels, norm_num_groups=32, activation_fn="geglu",
        attention_bias=False, positional_embeddings="sinusoidal", num_positional_embeddings=POSITIONS,
        double_self_attention=True,
    )  # fmt: skip
    theirs.load_state_dict({_diffusers_name(name): tensor for name, tensor in ours.state_dict().items()}, strict=False)
    return ours, theirs.to(device, dtype).eval()


def _diffusers_name(name: str) -> str:
    for original, diffusers in DIFFUSERS_NAMES.items():
        name = name.replace(original, diffusers)
    return name
