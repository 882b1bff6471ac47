"""SparseCtrl files load in both spellings, without a missing or an unknown weight; other files are refused by name."""

from collections.abc import Callable

import pytest
import torch
from animatediff_loom.motion_modules.errors import FileFault, MotionModelError
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.motion_modules.sparse_control.loading import load_sparse_network, parse_sparse_file
from diffusers.models.controlnets.controlnet_sparsectrl import SparseControlNetModel
from safetensors.torch import save_file

from tests.support.motion_files import V3, Tensors
from tests.support.sparse_controls import KINDS, RGB, SCRIBBLE, diffusers_file, original_file, sparse_network

FULL_SIZE = {RGB: 486, SCRIBBLE: 500}  # tensors in diffusers' spelling
Change = Callable[[Tensors], Tensors]


@pytest.mark.parametrize("kind", KINDS)
def test_both_spellings_are_the_same_network(kind, tmp_path):
    torch.save(original_file(kind), tmp_path / "original.ckpt")
    ours = load_sparse_network(str(tmp_path / "original.ckpt"), torch.float32).state_dict()
    theirs = sparse_network(kind).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", KINDS)
def test_full_size_files_are_recognised(kind):
    with torch.device("meta"):
        is_rgb = kind == RGB
        network = SparseControlNetModel(
            conditioning_channels=4 if is_rgb else 3, use_simplified_condition_embedding=is_rgb
        )
    file = parse_sparse_file(network.state_dict())
    assert len(network.state_dict()) == FULL_SIZE[kind]
    assert file.config.takes_latents == is_rgb and file.config.text_width == 768
    assert (file.config.channels, file.config.multipliers) == (320, (1, 2, 4, 4))
    assert {spec.positions for spec in file.specs.values()} == {32} and len(file.specs) == 8


BLOCKS = "down_blocks.0.attentions.0.transformer_blocks"


def without(name: str) -> Change:
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name}


def put(name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Change:
    return lambda tensors: tensors | {name: torch.zeros(shape, dtype=dtype)}


DAMAGE = {
    "a missing weight": (without("mid_block.resnets.1.conv2.bias"), "nothing as .*mid_block.resnets.1.conv2.bias"),
    "a missing input": (without("conv_in.weight"), "nothing as 'conv_in.weight'"),
    "an unknown weight": (put("up_blocks.0.resnets.0.norm1.weight", 128), "up_blocks.0.resnets.0.norm1.weight"),
    "another shape": (put("time_embedding.linear_2.weight", 128, 64), r"\[128, 64\].*expected \[128, 128\]"),
    "a huge dimension": (put("conv_in.weight", 2**17 + 1, 0), "without numbers"),
    "a layer far away": (put("down_blocks.987654321.resnets.0.conv1.weight", 32, 32, 3, 3), "nothing as|expected"),
    "text for another text encoder": (
        put("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 128, 48),
        r"attn2.to_[kv].weight.*expected",
    ),
    "whole numbers": (put("conv_in.bias", 32, dtype=torch.int64), "int64.*expected floating-point"),
    "widths that no layer has": (put("conv_in.weight", 7, 4, 3, 3), "conv_in|form an encoder"),
    "a missing motion module": (
        lambda tensors: {key: each for key, each in tensors.items() if "down_blocks.2.motion_modules.1" not in key},
        "no motion module at 'down_blocks.2.motion_modules.1', unlike SparseCtrl with its 8",
    ),
    "a motion module of another width": (
        lambda tensors: (
            tensors
            | {
                key.replace("down_blocks.0", "down_blocks.1"): each
                for key, each in tensors.items()
                if "down_blocks.0.motion" in key
            }
        ),
        "width 32 at 'down_blocks.1.motion_modules.0', expected 64",
    ),
    "many layers": (
        lambda tensors: tensors | {f"down_blocks.0.resnets.{n}.a": torch.zeros(1) for n in range(1000)},
        "has 1000 layers, expected up to 8",
    ),
    "many transformer blocks": (
        lambda tensors: tensors | {f"{BLOCKS}.{n}.a": torch.zeros(1) for n in range(1000)},
        "has 1000 transformer blocks, expected up to 8",
    ),
    "many levels": (
        lambda tensors: tensors | {f"down_blocks.{n}.resnets.0.a": torch.zeros(1) for n in range(1000)},
        "has 1000 levels, expected up to 8",
    ),
    "a motion weight too much": (
        put("down_blocks.0.motion_modules.0.transformer_blocks.0.norm5.weight", 32),
        "norm5.weight",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_refused(damage):
    change, words = DAMAGE[damage]
    with pytest.raises(FileFault, match=words):
        parse_sparse_file(change(diffusers_file(RGB)))


def control_net_of_diffusers() -> Tensors:
    return {name: tensor for name, tensor in diffusers_file(SCRIBBLE).items() if "motion_modules" not in name}


OTHERS = {
    "a ControlNet in diffusers' spelling": (
        control_net_of_diffusers,
        "it has no motion modules.*Load ControlNet Model",
    ),
    "a ControlNet": (
        lambda: {"control_model.zero_convs.0.0.weight": torch.zeros(32, 32, 1, 1)},
        "is a ControlNet, and not a SparseCtrl. Load it with the Load ControlNet Model node",
    ),
    "a motion model": (V3.file, "is a motion model, and not a SparseCtrl. Move it to models/animatediff_models"),
    "a checkpoint": (
        lambda: {"model.diffusion_model.out.2.bias": torch.zeros(4)},
        "holds no SparseCtrl .*'model.diffusion_model.out.2.bias'",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_files_are_refused_by_name(other, tmp_path):
    make, words = OTHERS[other]
    save_file({name: tensor.contiguous() for name, tensor in make().items()}, tmp_path / "other.safetensors")
    with pytest.raises(MotionModelError, match=f"SparseCtrl 'other.safetensors' .*{words}"):
        load_sparse_network(str(tmp_path / "other.safetensors"))


def test_a_truncated_file_is_refused(tmp_path):
    file = tmp_path / "half.safetensors"
    save_file(diffusers_file(RGB), file)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(MotionModelError, match=r"SparseCtrl 'half\.safetensors'"):
        load_sparse_network(str(file))


def test_the_loader_of_motion_models_names_the_right_node():
    with pytest.raises(MotionModelError, match=r"is a SparseCtrl.*models/controlnet.*Load SparseCtrl"):
        motion_model_from_tensors(diffusers_file(RGB), "rgb.ckpt")
