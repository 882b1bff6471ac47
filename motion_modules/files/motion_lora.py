"""Motion LoRAs: files of low-rank changes to the weights of a motion model.

Read in the spellings of the published v2 camera LoRAs, of diffusers and PEFT, of MotionDirector and
of kohya's trainers. The host's own adapter objects hold the changes, so that they stay low-rank and
that LoHa, LoKr and DoRA files load too.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import comfy.lora
import torch
from comfy.model_patcher import ModelPatcher

from ..contract import Tensors
from ..errors import FileFault, name_file_in_errors, require_finite
from ..motion_model import AppliedLora, MotionModel
from ..unet.low_rank import VaryingLora
from ..unet.variation import Variation
from .reading import flatten_tensors, read_checkpoint
from .unsupported import require_motion_lora
from .varying_lora import is_constant, read_constant, read_parts, split_by_site

KIND = "Motion LoRA"
CACHED_FILES = 2  # of up to 77 MB: a new strength of one of two nodes in a row reads no file again

_factor = (
    r"(_lora\.(up|down)|\.lora\.(up|down)|\.lora_linear_layer\.(up|down)|\.lora_(up|down|mid|A|B))(\.weight)?$"
    r"|\.(alpha|dora_scale|diff|diff_b|(hada|lokr)_[wt]\d(_[ab])?|reshape_weight)$"
)
_block = r"(down_blocks|up_blocks|mid_block)_.*"
_key_spellings = {".default.weight": ".weight", "_lora.alpha": ".alpha"}
_layer_spellings = {
    "_temporal_attentions_": "_motion_modules_",
    "_temporal_transformer_": "_",
    "_processor_": "_",
    "_attn1_": "_attention_blocks_0_",
    "_attn2_": "_attention_blocks_1_",
    "_to_out_0": "_to_out",
}


@dataclass(frozen=True)
class MotionLora:
    """A motion LoRA file: its `tensors` by key, and the layers that they change.

    `layers` maps the start of keys, such as `….processor.to_q`, to the layer in one spelling for all
    kinds of files.
    """

    name: str
    tensors: Tensors
    layers: Mapping[str, str]


def load_motion_lora(path: str) -> MotionLora:
    """Load the motion LoRA in the file at `path`; raise MotionModelError for a file of another kind.

    The last files are kept, and read again only when their time or size changes.
    """
    file = Path(path)
    status = file.stat() if file.exists() else None
    return _read_motion_lora(path, *((status.st_mtime_ns, status.st_size) if status else (0, 0)))


@lru_cache(maxsize=CACHED_FILES)
def _read_motion_lora(path: str, modified: int, size: int) -> MotionLora:
    name = Path(path).name
    with name_file_in_errors(KIND, name):
        checkpoint, _ = read_checkpoint(path)
        return parse_motion_lora(name, flatten_tensors(checkpoint))


def parse_motion_lora(name: str, tensors: Tensors) -> MotionLora:
    """Return the motion LoRA in the `tensors` of a file; raise FileFault where it is another kind of file."""
    require_motion_lora(tensors)
    tensors = {_replace_all(key, _key_spellings): tensor for key, tensor in tensors.items()}
    starts = dict.fromkeys(key[: match.start()] for key in tensors if (match := re.search(_factor, key)))
    layers = {start: layer for start in starts if (layer := _respell(start))}
    if not layers:
        raise FileFault(
            f"has keys that name no motion module (its first key is '{next(iter(tensors))}'). "
            "Choose another motion LoRA."
        )
    _require_numbers({key: tensor for key, tensor in tensors.items() if key.startswith(tuple(layers))})
    return MotionLora(name, tensors, layers)


def add_motion_lora(
    motion_model: MotionModel, lora: MotionLora, strength: float, variation: Variation | None = None
) -> MotionModel:
    """Return a copy of `motion_model` that is changed by `strength` times `variation` times `lora`.

    Weights are patched, unless the variation differs between more than sites. Strength 0 changes
    nothing, but a LoRA that does not fit is still refused: MotionModelError where it changes no layer
    of the motion model, was made for layers of other widths, or cannot vary.
    """
    with name_file_in_errors(KIND, lora.name):
        adapters = match_layers(lora, motion_model.name, motion_model.patcher)
        varies = variation is not None and not is_constant(variation)
        applied = AppliedLora(lora.name, strength, len(adapters), len(lora.layers), varies)
        require_finite(applied)
        if variation is None or is_constant(variation):
            changed_model = _patch(motion_model, adapters, strength, variation)
        else:
            changed_model = _vary(motion_model, lora.name, adapters, strength, variation)
    if not strength or (variation is not None and variation.is_zero):
        return motion_model
    report_partial_match(applied, motion_model.name)
    return replace(changed_model, loras=(*motion_model.loras, applied))


def _vary(
    motion_model: MotionModel, name: str, adapters: Mapping[str, Any], strength: float, variation: Variation
) -> MotionModel:
    """Return a copy of `motion_model` with a LoRA that is evaluated beside its layers."""
    parts = read_parts(adapters, motion_model.specs, motion_model.patcher)
    scales = _scale_sites(motion_model, variation)
    varying = VaryingLora(name, strength, variation, parts, scales)
    return replace(motion_model, varying_loras=(*motion_model.varying_loras, varying))


def _patch(
    motion_model: MotionModel, adapters: Mapping[str, Any], strength: float, variation: Variation | None
) -> MotionModel:
    """Return a copy of `motion_model` with patched weights."""
    patcher = motion_model.patcher.clone()
    if variation is None:
        patcher.add_patches(adapters, strength)
        return replace(motion_model, patcher=patcher)
    scales, shared = _scale_sites(motion_model, variation), strength * read_constant(variation)
    for site in split_by_site(adapters, motion_model.specs):
        of_site = {name: adapter for name, adapter in adapters.items() if name.startswith(f"{site}.")}
        if shared * scales[site]:
            patcher.add_patches(of_site, shared * scales[site])
    return replace(motion_model, patcher=patcher)


def _scale_sites(motion_model: MotionModel, variation: Variation) -> Mapping[str, float]:
    return variation.scale_sites(motion_model.specs, f"motion model '{motion_model.name}'")


def report_partial_match(applied: AppliedLora, motion_model: str) -> None:
    """Log how many layers match where not all do."""
    if applied.is_partial:
        logging.warning(f"Motion LoRA {applied.describe()} of motion model '{motion_model}' match.")


def match_layers(lora: MotionLora, motion_model: str, patcher: ModelPatcher) -> dict[str, Any]:
    """Return the host's adapters by the name of the weight in `patcher` that each of them changes.

    Raise FileFault where there is none, or one of another width; `motion_model` is the name for it.
    """
    weights = patcher.model.state_dict()
    names = {_respell(name.removesuffix(".weight")): name for name in weights if name.endswith(".weight")}
    targets = {start: names[layer] for start, layer in lora.layers.items() if layer in names}
    if not targets:
        raise FileFault(
            f"changes no layer of motion model '{motion_model}' (its first layer is "
            f"'{next(iter(lora.layers))}'). Choose a motion LoRA that was made for this motion model."
        )
    try:
        adapters = comfy.lora.load_lora(lora.tensors, targets, log_missing=False)
    except KeyError as error:
        raise FileFault(f"lacks the tensor {error}. Download it again.") from error
    for name, adapter in adapters.items():
        _require_width(name, adapter, weights[name].shape, motion_model)
    return adapters


def _respell(layer: str) -> str | None:
    """Return the name of a layer in one spelling for all kinds of files, or None outside of motion modules."""
    match = re.search(_block, layer.replace(".", "_"))
    name = _replace_all(match[0], _layer_spellings) if match else ""
    return name if "_motion_modules_" in name else None


def _replace_all(text: str, spellings: Mapping[str, str]) -> str:
    for old, new in spellings.items():
        text = text.replace(old, new)
    return text


def _require_numbers(tensors: Tensors) -> None:
    for key, tensor in tensors.items():
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise FileFault(f"has {kind} as '{key}', expected floating-point numbers. Download it again.")
        if not tensor.float().sum().isfinite():
            raise FileFault(f"has a NaN or Inf in '{key}'. Download it again.")


def _require_width(name: str, adapter: Any, shape: torch.Size, motion_model: str) -> None:
    changed = _measure_shape(adapter)
    if changed != tuple(shape):
        raise FileFault(
            f"changes a weight of shape {list(changed)}, but '{name}' of motion model '{motion_model}' has "
            f"{list(shape)}. Choose a motion LoRA for the same base model."
        )


def _measure_shape(adapter: Any) -> tuple[int, ...]:
    """Return the shape of the weight that an adapter of the host changes."""
    if isinstance(adapter, tuple):  # a whole difference
        return tuple(adapter[1][0].shape)
    factors = adapter.weights
    if adapter.name == "lokr":
        first, second = _multiply(factors[0], *factors[3:5]), _multiply(factors[1], *factors[5:7])
        return first[0] * second[0], first[1] * second[1]
    if adapter.name in ("lora", "loha"):
        return _multiply(None, *factors[:2])
    raise FileFault(f"is of the kind '{adapter.name}', which is not supported. Convert it to LoRA, LoHa or LoKr.")


def _multiply(whole: torch.Tensor | None, left: torch.Tensor | None, right: torch.Tensor | None) -> tuple[int, ...]:
    """Return the shape of a factor that is whole, or itself the product of two."""
    if whole is not None:
        return tuple(whole.shape)
    assert left is not None and right is not None, "the host has loaded both"
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise FileFault(
            f"has factors of shapes {list(left.shape)} and {list(right.shape)}, which cannot be multiplied. "
            "Download it again."
        )
    return left.shape[0], right.shape[1]
