"""SparseCtrl files, in the spelling of their authors and in that of diffusers.

The keys of the spatial layers are those of diffusers in both, and those of the motion modules as in
motion models. Training scripts put `controlnet.` and `module.` before all of them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import comfy.model_management
import comfy.utils
import torch

from ..architectures.registry import ARCHITECTURES, KnownArchitectures
from ..contract import Shapes, Tensors
from ..errors import FileFault, describe_cause, name_file_in_errors
from ..families import SD15, Family
from ..files.assembling import build_modules, cast_weight
from ..files.checkpoint_keys import parse_keys, recognise_spelling, respell
from ..files.module_specs import REMEDY, check_sizes, compare_dtypes, compare_shapes, read_specs
from ..files.motion_file import MotionFile, group_by_site
from ..files.reading import flatten_tensors, read_checkpoint
from ..motion_model import ModuleSpec
from .network import SparseControlConfig, SparseControlNet

KIND = "SparseCtrl"
MARK = "controlnet_mid_block.weight"  # ends with this in every SparseCtrl file, after what a trainer put before it
EMBEDDING = "controlnet_cond_embedding"
LARGEST_COUNT = 8  # of levels, and of layers and transformer blocks in each
CONTROL_MARKS = (EMBEDDING, "controlnet_", "control_model.", "input_hint_block.", "zero_convs.")


class SparseControlFile(NamedTuple):
    """Contents of a file: spatial weights by the host's names, and motion weights by site and parameter."""

    config: SparseControlConfig
    spatial: Tensors
    motion: dict[str, Tensors]
    specs: dict[str, ModuleSpec]


def load_sparse_network(path: str, dtype: torch.dtype | None = None) -> SparseControlNet:
    """Load the network of SparseCtrl in the file at `path`; the host chooses the precision, unless `dtype` is set.

    Raises MotionModelError, with the name of the file, for another kind of file or a damaged one.
    """
    with name_file_in_errors(KIND, Path(path).name):
        checkpoint, _ = read_checkpoint(path)
        file = parse_sparse_file(flatten_tensors(checkpoint))
    return build_sparse_network(file, dtype or _choose_dtype(file.spatial))


def parse_sparse_file(tensors: Mapping[str, torch.Tensor]) -> SparseControlFile:
    """Return what a file holds; raise FileFault unless it has all weights of a SparseCtrl and no others."""
    weights = _strip_prefix(tensors)
    keys = parse_keys(weights)
    if not keys:
        raise FileFault(
            "is a ControlNet, and not a SparseCtrl: it has no motion modules. Load it with the Load ControlNet Model "
            "node."
        )
    spatial = {name: tensor for name, tensor in weights.items() if name not in keys}
    shapes = {name: tuple(tensor.shape) for name, tensor in spatial.items()}
    check_sizes(shapes, KIND)
    config = read_config(shapes)
    names, expected = _list_expected(config)
    compare_shapes(shapes, {name: tuple(expected[ours].shape) for name, ours in names.items()}, KIND)
    compare_dtypes(spatial, {name: expected[ours] for name, ours in names.items()}, KIND)
    motion = _parse_motion(weights, config)
    return SparseControlFile(
        config,
        {ours: spatial[name] for name, ours in names.items()},
        motion.weights,
        _read_motion_specs(motion, config),
    )


def build_sparse_network(file: SparseControlFile, dtype: torch.dtype) -> SparseControlNet:
    """Build the network with the weights of `file`, which have been checked to fit, in `dtype`."""
    network = SparseControlNet(file.config, dtype)
    network.load_state_dict({name: cast_weight(tensor, dtype) for name, tensor in file.spatial.items()}, assign=True)
    network.add_motion(build_modules(file.motion, file.specs, dtype))
    return network.requires_grad_(False).train(False)


def _strip_prefix(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the tensors by their names in the network; raise FileFault for another kind of file."""
    mark = next((name for name in tensors if name == MARK or name.endswith(f".{MARK}")), None)
    if mark is None:
        raise _make_wrong_kind_fault(tensors)
    prefix = mark.removesuffix(MARK)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _make_wrong_kind_fault(tensors: Mapping[str, torch.Tensor]) -> FileFault:
    first = next(iter(tensors))
    if any(mark in name for name in tensors for mark in CONTROL_MARKS):
        return FileFault("is a ControlNet, and not a SparseCtrl. Load it with the Load ControlNet Model node.")
    if parse_keys(tensors):
        return FileFault(
            "is a motion model, and not a SparseCtrl. Move it to models/animatediff_models and load it with the Load "
            "Motion Model node."
        )
    return FileFault(
        f"holds no SparseCtrl (its first key is '{first}'). Choose a file such as v3_sd15_sparsectrl_rgb.ckpt."
    )


def read_config(shapes: Shapes) -> SparseControlConfig:
    """Read the shape of the network from the `shapes` of its tensors; raise FileFault where they contradict it."""
    try:
        return _read_config(shapes)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise FileFault(f"has no weights of a whole encoder (nothing as {describe_cause(error)}). {REMEDY}") from error


def _read_config(shapes: Shapes) -> SparseControlConfig:
    channels = shapes["conv_in.weight"][0]
    levels = _require_few(_count(shapes, "down_blocks"), "levels")
    layers = tuple(_require_few(_count(shapes, f"down_blocks.{level}.resnets"), "layers") for level in range(levels))
    blocks = [f"down_blocks.{level}.attentions.0.transformer_blocks" for level in range(levels)]
    widths = [shapes[f"down_blocks.{level}.resnets.0.conv1.weight"][0] for level in range(levels)]
    middle = "mid_block.attentions.0"
    return SparseControlConfig(
        takes_latents=f"{EMBEDDING}.weight" in shapes,
        channels=channels,
        multipliers=tuple(width // channels for width in widths),
        layers=layers,
        depths=tuple(_require_few(_count(shapes, prefix), "transformer blocks") for prefix in blocks),
        middle_depth=_require_few(_count(shapes, f"{middle}.transformer_blocks"), "transformer blocks"),
        text_width=shapes[f"{middle}.transformer_blocks.0.attn2.to_k.weight"][1],
        linear_projections=len(shapes[f"{middle}.proj_in.weight"]) == 2,
    )


def _count(shapes: Shapes, prefix: str) -> int:
    """Return how many numbers follow `prefix` in the names, so that a single large one counts as one."""
    start = f"{prefix}."
    return len({name[len(start) :].partition(".")[0] for name in shapes if name.startswith(start)})


def _require_few(count: int, kind: str) -> int:
    """Return `count`; raise FileFault above LARGEST_COUNT, since building the network could take hours."""
    if count > LARGEST_COUNT:
        raise FileFault(f"has {count} {kind}, expected up to {LARGEST_COUNT}. {REMEDY}")
    return count


def _list_expected(config: SparseControlConfig) -> tuple[dict[str, str], Tensors]:
    """Return the host's name of each spatial weight by its name in files, and tensors without data by the former."""
    try:
        expected = SparseControlNet(config, torch.float32).state_dict()
    except Exception as error:  # shapes of a damaged file make the host's layers raise anything
        raise FileFault(f"has weights that do not form an encoder ({describe_cause(error)}). {REMEDY}") from error
    outputs = [0] * (sum(config.layers) + len(config.layers))
    names = comfy.utils.unet_to_diffusers(config.unet | {"transformer_depth_output": outputs})
    names |= {
        f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in _name_controls(config) for part in ("weight", "bias")
    }
    return {theirs: ours for theirs, ours in names.items() if ours in expected}, expected


def _name_controls(config: SparseControlConfig) -> list[tuple[str, str]]:
    """Return the names of the layers that a ControlNet has beside an encoder, in files and in the host."""
    skips = 1 + sum(config.layers) + len(config.layers) - 1
    pairs = [(f"controlnet_down_blocks.{number}", f"zero_convs.{number}.0") for number in range(skips)]
    pairs.append(("controlnet_mid_block", "middle_block_out.0"))
    if config.takes_latents:
        return [*pairs, (EMBEDDING, "input_hint_block.0")]
    blocks = [(f"{EMBEDDING}.blocks.{number}", f"input_hint_block.{2 * number + 2}") for number in range(6)]
    ends = [(f"{EMBEDDING}.conv_in", "input_hint_block.0"), (f"{EMBEDDING}.conv_out", "input_hint_block.14")]
    return [*pairs, *blocks, *ends]


def _parse_motion(weights: Mapping[str, torch.Tensor], config: SparseControlConfig) -> MotionFile:
    known = KnownArchitectures(ARCHITECTURES, {})
    keys = parse_keys(weights)
    modules = group_by_site({respell(key, known.usable): weights[name] for name, key in keys.items()})
    return MotionFile(KIND, modules, (), recognise_spelling(keys.values(), known.usable), None, known)


def _read_motion_specs(motion: MotionFile, config: SparseControlConfig) -> dict[str, ModuleSpec]:
    family = Family(KIND, base=SD15, levels=len(config.layers), mid=False, own_sites=config.sites)
    specs = read_specs(motion, family)
    for site, spec in specs.items():
        width = config.channels * config.multipliers[int(site.split(".")[1])]
        if spec.channels != width:
            raise FileFault(f"has a motion module of width {spec.channels} at '{site}', expected {width}. {REMEDY}")
    return specs


def _choose_dtype(spatial: Tensors) -> torch.dtype:
    return comfy.model_management.unet_dtype(
        comfy.model_management.get_torch_device(),
        comfy.utils.calculate_parameters(spatial),
        weight_dtype=comfy.utils.weight_dtype(spatial) or torch.float32,
    )
