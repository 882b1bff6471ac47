"""Which family a file is taken for, and what that family promises."""

import pytest
from animatediff_loom.motion_modules.describe import describe
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.motion_modules.recipes import find_recipe
from synthetic_motion import file_shapes

from tests.support.motion_files import (
    EXPECTED,
    FULL_WIDTHS,
    HOTSHOT,
    LCM,
    LIGHTNING,
    LONG,
    SDXL_BETA,
    SPELLINGS,
    V1,
    V2,
    V3,
    Expected,
    as_diffusers,
    motion_file,
    weightless,
)
from tests.support.texts import expect_error

DETECTION = {  # base, mid block, positions in the file, spelling: family
    ("SD1.5", False, 24, "original"): V1,
    ("SD1.5", False, 32, "original"): V3,
    ("SD1.5", False, 32, "diffusers"): V3,
    ("SD1.5", False, 24, "diffusers"): V1,
    ("SD1.5", True, 32, "original"): V2,
    ("SD1.5", True, 32, "diffusers"): V2,
    ("SD1.5", True, None, "original"): LCM,
    ("SD1.5", True, None, "diffusers"): LCM,
    ("SD1.5", True, 64, "diffusers"): LCM,
    ("SD1.5", True, 64, "original"): LONG,
    ("SD1.5", True, 128, "original"): LONG,
    ("SDXL", False, 32, "original"): SDXL_BETA,
    ("SDXL", False, 32, "diffusers"): SDXL_BETA,
    ("SDXL", False, 24, "Hotshot-XL"): HOTSHOT,
    ("SDXL", False, 8, "Hotshot-XL"): HOTSHOT,
    ("SDXL", False, 24, "original"): HOTSHOT,
    ("SDXL", False, 24, "diffusers"): HOTSHOT,
    ("SDXL", False, None, "Hotshot-XL"): HOTSHOT,
}
COUNTS = {"original": {21: 588, 20: 560, 15: 420}, "diffusers": {21: 567, 20: 540, 15: 405}}
MILLION_WEIGHTS = {21: "453.2", 20: "417.1", 15: "236.8"}


def load(tensors, expected: Expected, choice: str | None = None):
    return motion_model_from_tensors(tensors, "tiny.safetensors", choice or expected.choice)


@pytest.mark.parametrize("facts", DETECTION, ids=lambda facts: " ".join(map(str, facts)))
def test_detection_at_full_size(facts):
    base, mid, positions, spelling = facts
    tensors = SPELLINGS[spelling](weightless(file_shapes(FULL_WIDTHS[base], mid, positions)))
    motion_model = motion_model_from_tensors(tensors, "full.safetensors")
    assert motion_model.family.name == DETECTION[facts].name
    assert motion_model.family.base == base
    places = len(motion_model.specs)
    if positions is not None:
        assert len(tensors) == COUNTS["diffusers" if spelling == "diffusers" else "original"][places]
        assert motion_model.positions == positions
    assert {spec.channels for spec in motion_model.specs.values()} == {320, 640, 1280}
    assert f"size: {MILLION_WEIGHTS[places]} million weights" in describe(motion_model)
    for fact in (f"{positions} positions" if positions else "no positional encoding", f"{spelling} key names"):
        assert fact in motion_model.reason


def test_tensor_count_without_positions():
    assert len(file_shapes(FULL_WIDTHS["SD1.5"], mid=True, positions=None)) == 546


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected.name)
def test_what_a_family_promises(expected):
    family = load(expected.file(), expected).family
    assert family.base == expected.base
    assert family.joint_unet_norm == expected.joint_unet_norm
    assert family.joint_module_norm == expected.joint_module_norm


def test_the_two_kinds_of_long_animatediff():
    frames = {positions: load(motion_file(mid=True, positions=positions), LONG).family for positions in (64, 128)}
    assert [frames[positions].trained_frames for positions in (64, 128)] == [32, 64]
    chosen = load(as_diffusers(motion_file(mid=True, positions=64)), LONG, "LongAnimateDiff")
    assert chosen.family == frames[64]
    assert load(motion_file(mid=True, positions=128), LONG, "LongAnimateDiff").family == frames[128]


def test_lightning_is_the_users_choice():
    tensors = LIGHTNING.file()
    assert load(tensors, V2).family.name == "AnimateDiff v2"
    chosen = load(tensors, LIGHTNING)
    assert (chosen.family.name, chosen.reason) == ("AnimateDiff-Lightning", "chosen on the node")
    lines = describe(chosen).splitlines()
    assert "advice: 1 to 8 steps and CFG 1 to 2.5; as many steps as the file's name says" in lines
    assert (
        "settings: sampler_name euler, scheduler sgm_uniform, steps 4, cfg 1, batch_size 16, context_length 16" in lines
    )


def test_settings_of_recipes():
    assert find_recipe("AnimateLCM").describe_needs() == "2 to 12 steps and CFG 1 to 3; its LoRA on the checkpoint"
    assert find_recipe("LongAnimateDiff").describe().endswith("cfg 7.5, attention_scale 1.15")
    assert find_recipe("Hotshot-XL").describe().endswith("steps 30, cfg 7.5, width 672, height 384")
    assert find_recipe("AnimateDiff v3").describe_needs() == ""


def test_an_impossible_choice():
    with expect_error("'tiny.safetensors'", "AnimateDiff v2", "no mid block", "Set `family` to 'auto'"):
        load(V3.file(), V3, "AnimateDiff v2")
    with expect_error("'tiny.safetensors'", "no such family"):
        load(V3.file(), V3, "no such family")
