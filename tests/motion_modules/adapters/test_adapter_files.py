"""Files with an adapter beside their motion modules: PIA, in every spelling, whole and damaged."""

from dataclasses import replace

import pytest
import torch
from animatediff_loom.motion_modules.adapters.pia import PIA, PiaConfig
from animatediff_loom.motion_modules.describe import describe
from animatediff_loom.motion_modules.files.loading import (
    load_motion_model,
    load_motion_patcher,
    motion_model_from_tensors,
)
from animatediff_loom.motion_modules.files.replacing import replace_modules
from animatediff_loom.motion_modules.files.saving import WITHOUT, save_motion_model

from tests.support.host import copy_weights, same_weights, tiny_model
from tests.support.motion_files import SPELLINGS, V3, as_training_checkpoint, cast, pia_file
from tests.support.motion_models import random_motion
from tests.support.texts import expect_error

WEIGHT = "adapters.pia.conv.weight"


def load(tensors, family: str = "auto"):
    return motion_model_from_tensors(tensors, "pia.ckpt", family)


@pytest.mark.parametrize("spelling", ("original", "diffusers", "training", "training in diffusers' names"))
def test_pia_is_recognised_in_every_spelling(spelling):
    file = pia_file()
    motion_model = load(SPELLINGS[spelling](file))
    assert motion_model.family.name == "PIA"
    assert motion_model.family.joint_unet_norm
    assert [(each.adapter.key, each.config) for each in motion_model.adapters] == [(PIA, PiaConfig(32))]
    weights = motion_model.patcher.model.state_dict()
    assert torch.equal(weights[WEIGHT], file["conv_in.weight"][:, 4:])
    assert "needs: a reference picture, from Image To Video" in describe(motion_model)
    assert not motion_model.notes


def test_a_training_checkpoint_with_the_base_models_first_convolution_is_no_pia():
    motion_model = load(as_training_checkpoint(V3.file()))
    assert (motion_model.family.name, motion_model.adapters) == ("AnimateDiff v3", ())


def test_of_two_first_convolutions_the_one_of_the_used_motion_modules_counts():
    file, ema = pia_file(), pia_file(seed=1)
    both = {"ema.": ema, "unet.": file}
    motion_model = load({prefix + name: tensor for prefix, part in both.items() for name, tensor in part.items()})
    assert torch.equal(motion_model.patcher.model.state_dict()[WEIGHT], ema["conv_in.weight"][:, 4:])


@pytest.mark.parametrize(("dtype", "loaded"), ((torch.float16, torch.float16), (torch.bfloat16, torch.bfloat16)))
def test_half_precision_stays(dtype, loaded, monkeypatch):
    monkeypatch.setattr("comfy.model_management.unet_dtype", lambda *args, weight_dtype, **more: weight_dtype)
    weights = load(cast(pia_file(), dtype)).patcher.model.state_dict()
    assert weights[WEIGHT].dtype == loaded


@pytest.mark.parametrize(
    ("changes", "fault"),
    (
        ({"conv_in.weight": torch.zeros(32, 9, 1, 1)}, "has [32, 5, 1, 1] as 'adapters.pia.conv.weight', expected"),
        ({"conv_in.weight": torch.zeros(2**18, 9, 3, 3)}, "has a tensor of size 262144 in 'adapters.pia'"),
        ({"conv_in.weight": torch.zeros(32, 9, 3, 3, dtype=torch.int64)}, "has int64 as 'adapters.pia.conv.weight'"),
        ({"adapters.pia.conv.weights": torch.zeros(32, 5, 3, 3)}, "do not form a pia"),
        ({"adapters.later.conv.weight": torch.zeros(3)}, "needs the adapter 'later', which this version does not"),
    ),
)
def test_damaged_adapters_are_refused(changes, fault):
    with expect_error("'pia.ckpt'", fault):
        load(pia_file() | changes)


def test_a_family_without_the_adapter_of_the_file_is_refused():
    with expect_error("cannot be AnimateDiff v3", "the adapter pia", "Set `family` to 'auto'"):
        load(pia_file(), "AnimateDiff v3")
    with expect_error("cannot be PIA", "Set `family` to 'auto'"):
        load(V3.file(), "PIA")


def test_saved_and_loaded_again_it_is_the_same(tmp_path):
    motion_model = load(pia_file())
    save_motion_model(motion_model, tmp_path / "mine.safetensors", WITHOUT)
    again = load_motion_model(str(tmp_path / "mine.safetensors"))
    assert (again.family, again.specs, again.adapters) == (
        motion_model.family,
        motion_model.specs,
        motion_model.adapters,
    )
    assert same_weights(again.patcher, copy_weights(motion_model.patcher))
    patcher = load_motion_patcher(str(tmp_path / "mine.safetensors"), "auto")
    assert same_weights(patcher, copy_weights(motion_model.patcher))


def test_a_saved_file_without_the_tensors_of_its_adapter_names_them(tmp_path):
    motion_model = load(pia_file())
    without = motion_model_from_tensors(V3.file(), "v3.safetensors")
    save_motion_model(replace(without, family=motion_model.family), tmp_path / "mine.safetensors", WITHOUT)
    with expect_error("has no tensors of the adapter 'pia', which PIA needs", "Choose another file"):
        load_motion_model(str(tmp_path / "mine.safetensors"))


def test_further_copies_of_the_patcher_have_the_adapter():
    patcher = load(pia_file()).patcher
    build, arguments = patcher.cached_patcher_init[:2]
    assert same_weights(build(*arguments), copy_weights(patcher))


def test_replacing_modules_keeps_the_adapter():
    model, motion_model = tiny_model(), load(pia_file())
    mixed = replace_modules(motion_model, random_motion(model, "temporal_convolution"), "down.2")
    assert mixed.adapters == motion_model.adapters
    assert torch.equal(mixed.patcher.model.state_dict()[WEIGHT], motion_model.patcher.model.state_dict()[WEIGHT])
