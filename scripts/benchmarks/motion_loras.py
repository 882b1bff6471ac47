"""A motion LoRA of the published size: to apply it, over dense differences, and a step in which its strength varies."""

import re
from collections.abc import Iterator
from typing import Any

import torch
from host.in_process import pack
from synthetic_motion import SD15_WIDTHS, file_shapes, motion_model_state_dict, random_tensor

from . import Run
from .measuring import TOLERANCES, Figure, Sample, alternate, compare, compare_memory, measure_time, require_agreement
from .models import DTYPES, compute_in, random_sd15
from .step import LONG_STEP, Steps, animate, evaluate, forget_models

RANK = 64
STRENGTH = 0.5
CURVE = "0: 1, 100%: 0.5"


def figures(run: Run) -> Iterator[Figure]:
    lora = pack("motion_modules.files.motion_lora").parse_motion_lora("random v2", random_lora_tensors())
    for dtype in run.dtypes:
        compute_in(dtype)
        motion_model = _load_motion_model(dtype)
        yield from _compare_applying(run, motion_model, lora, dtype)
        models = _make_models(random_sd15(dtype), motion_model, lora)
        for size in run.sizes:
            yield from _compare_steps(run, models, size, dtype)
        models.clear()
        forget_models()


def random_lora_tensors() -> dict[str, torch.Tensor]:
    """Return a LoRA with the layers, names and rank of the published camera LoRAs: 19.3 million values."""
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in file_shapes(SD15_WIDTHS, mid=True, positions=None).items():
        if match := re.fullmatch(r"(.+)\.(to_[qkv]|to_out)(\.0)?\.weight", name):
            height, width = layer
            for part, shape in (("down", (RANK, width)), ("up", (height, RANK))):
                key = f"{match[1]}.processor.{match[2]}_lora.{part}.weight"
                tensors[key] = 0.1 * random_tensor(key, shape, 0, torch.float32)
    return tensors


def _load_motion_model(dtype: str):
    tensors = motion_model_state_dict(SD15_WIDTHS, mid=True, dtype=DTYPES[dtype])
    return pack("motion_modules.files.loading").motion_model_from_tensors(tensors, f"random v2 in {dtype}")


def _compare_applying(run: Run, motion_model, lora, dtype: str) -> Iterator[Figure]:
    """Compare what this pack does, to patch by factors, with patches of dense differences."""
    ways = {"low-rank": lambda: _add(motion_model, lora).patcher, "dense": lambda: _add_dense(motion_model, lora)}
    results: dict[str, torch.Tensor] = {}

    def contestant(way: str):
        def work() -> None:
            results[way] = _patch_weights(ways[way]())

        return lambda: measure_time(work, run.device)

    name = f"motion LoRA of rank {RANK} applied to v2, {dtype}"
    samples = alternate({way: contestant(way) for way in ways}, run.repetitions)
    yield compare(name, samples, run.device, note=require_agreement(name, results, TOLERANCES[dtype]))
    yield compare_memory(f"{name}, patches in memory", {way: _count_bytes(add()) for way, add in ways.items()})


def _add(motion_model, lora, variation=None):
    return pack("motion_modules.files.motion_lora").add_motion_lora(motion_model, lora, STRENGTH, variation)


def _add_dense(motion_model, lora):
    adapters = pack("motion_modules.files.motion_lora").match_layers(lora, motion_model.name, motion_model.patcher)
    patcher = motion_model.patcher.clone()
    differences = {name: ("diff", (adapter.weights[0] @ adapter.weights[1],)) for name, adapter in adapters.items()}
    patcher.add_patches(differences, STRENGTH)
    return patcher


def _patch_weights(patcher) -> torch.Tensor:
    """Calculate every patched weight, as the host does when it loads a model; return the last one."""
    last = torch.empty(0)
    for name in patcher.patches:
        last = patcher.patch_weight_to_device(name, return_weight=True)
    return last


def _count_bytes(patcher) -> int:
    tensors = [
        tensor for patches in patcher.patches.values() for patch in patches for tensor in _list_tensors(patch[1])
    ]
    return sum(tensor.nbytes for tensor in tensors)


def _list_tensors(patch: Any) -> list[torch.Tensor]:
    values = patch[1] if isinstance(patch, tuple) else patch.weights
    return [value for value in values if isinstance(value, torch.Tensor)]


def _make_models(plain, motion_model, lora) -> dict[str, Any]:
    curves, strength = pack("sampling.steering.curves"), pack("sampling.steering.strength")
    factor = strength.StrengthFactor(frame_curve=curves.read_frame_curve(CURVE, "frame_curve"))
    varying = _add(motion_model, lora, strength.MotionStrength((factor,)))
    return {"varying": animate(plain, varying), "patched": animate(plain, _add(motion_model, lora))}


def _compare_steps(run: Run, models: dict[str, Any], size: int, dtype: str) -> Iterator[Figure]:
    """Steps of both models do not fit one set of weights, so each is timed after an evaluation that loads it."""
    count = 5 if run.device.type == "cuda" else 1

    def contestant(model):
        steps = Steps(run, model, run.frames, size, count)

        def measure() -> Sample:
            evaluate(model, run.frames, 64, lambda step: step())
            return steps()

        return measure

    name = f"step {size}x{size}, {run.frames} frames, CFG, {dtype}, strength of a motion LoRA over frames"
    repetitions = run.repetitions if count > 1 or size < LONG_STEP else min(2, run.repetitions)
    samples = alternate({who: contestant(model) for who, model in models.items()}, repetitions)
    yield compare(name, samples, run.device)
