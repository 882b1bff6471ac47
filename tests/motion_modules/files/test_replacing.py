"""Modules of one motion model in another, by the Python API and by Replace Motion Modules."""

from pathlib import Path

import pytest
import torch
from animatediff_loom.motion_modules.attention_tap import ModuleTaps
from animatediff_loom.motion_modules.contract import MotionInputs, Views
from animatediff_loom.motion_modules.files.loading import load_motion_model, motion_model_from_tensors
from animatediff_loom.motion_modules.files.replacing import MODES, replace_modules
from animatediff_loom.motion_modules.files.saving import save_motion_model
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.motion_modules.watching.attention_maps import AttentionMapRecorder
from animatediff_loom.nodes.replace_motion_modules import ReplaceMotionModules
from animatediff_loom.sampling.animate import AS_THE_MODEL, animate

from tests.support.host import copy_weights, same_weights, tiny_model
from tests.support.motion_files import motion_file
from tests.support.motion_models import (
    KEYS,
    SITES,
    Width,
    import_gain_pack,
    new_model,
    random_motion,
    sample_with,
    untrained_motion,
)
from tests.support.sampling import sample
from tests.support.texts import expect_error


@pytest.mark.parametrize("trained", ("temporal_transformer", "low_rank_attention"))
def test_a_swap_changes_only_its_sites(trained):
    model = tiny_model()
    before, mine = random_motion(model, trained), random_motion(model, "scale_shift")
    kept, taken = copy_weights(before.patcher), copy_weights(mine.patcher)
    after = ReplaceMotionModules.execute(before, mine, "down.1, mid")[0]

    chosen = [*(name for name in SITES if name.startswith("down_blocks.1.")), "mid_block.motion_modules.0"]
    assert {n for n, spec in after.specs.items() if spec.architecture.key == "scale_shift"} == set(chosen)
    prefixes = tuple(f"{name}." for name in chosen)
    expected = {n: t for n, t in kept.items() if not n.startswith(prefixes)}
    expected |= {n: t for n, t in taken.items() if n.startswith(prefixes)}
    assert same_weights(after.patcher, expected)
    assert not torch.equal(sample_with(model, after), sample_with(model, before))


def test_the_originals_are_untouched():
    model = tiny_model()
    before, mine = random_motion(model, "temporal_transformer"), random_motion(model, "temporal_convolution")
    kept, clips = (
        [copy_weights(each.patcher) for each in (before, mine)],
        [sample_with(model, each) for each in (before, mine)],
    )
    after = replace_modules(before, mine, "up")
    for weight in after.patcher.model.parameters():
        weight.zero_()
    assert all(same_weights(each.patcher, was) for each, was in zip((before, mine), kept, strict=True))
    assert all(torch.equal(sample_with(model, each), clip) for each, clip in zip((before, mine), clips, strict=True))
    assert set(before.specs) == set(SITES) and {spec.architecture.key for spec in before.specs.values()} == {
        "temporal_transformer"
    }


def test_fresh_modules_switch_off_those_that_they_replace():
    model = tiny_model()
    after = replace_modules(random_motion(model, "temporal_transformer"), untrained_motion(model, "scale_shift"), "*")
    assert torch.equal(sample_with(model, after), sample(model, steps=1))


@pytest.mark.parametrize("key", KEYS)
def test_a_stack_is_as_two_motion_models_one_behind_the_other(key):
    model = tiny_model()
    trained, mine = random_motion(model, "temporal_transformer"), random_motion(model, key)
    stacked = ReplaceMotionModules.execute(trained, mine, "*", "stack")[0]
    assert {spec.architecture.key for spec in stacked.specs.values()} == {
        f"temporal_transformer+{key}",
        *({"temporal_transformer"} if len(mine.specs) < len(SITES) else ()),
    }
    in_two = sample_with(animate(model, trained, MotionSettings(), AS_THE_MODEL), mine)
    assert torch.equal(sample_with(model, stacked), in_two)
    assert not torch.equal(in_two, sample_with(model, trained))


def test_fresh_modules_behind_trained_ones_change_nothing():
    model = tiny_model()
    trained = random_motion(model, "temporal_transformer")
    assert torch.equal(
        sample_with(model, replace_modules(trained, new_model(model), "*", "stack")), sample_with(model, trained)
    )


def test_three_in_a_stack_keep_their_order_and_can_be_replaced():
    model = tiny_model()
    first, second, third = (random_motion(model, key) for key in ("scale_shift", "temporal_convolution", "scale_shift"))
    both = replace_modules(first, replace_modules(second, third, "*", "stack"), "mid", "stack")
    (middle,) = (spec for name, spec in both.specs.items() if name.startswith("mid"))
    assert middle.architecture.key == "scale_shift+temporal_convolution+scale_shift"
    one_by_one = replace_modules(replace_modules(first, second, "mid", "stack"), third, "mid", "stack")
    assert same_weights(one_by_one.patcher, copy_weights(both.patcher)) and one_by_one.specs == both.specs
    assert same_weights(replace_modules(both, first, "mid").patcher, copy_weights(first.patcher))


def test_a_stack_attends_in_views_and_is_watched_by_the_names_of_its_members():
    model = tiny_model()
    stacked = replace_modules(*(random_motion(model, key) for key in ("low_rank_attention",) * 2), "mid", "stack")
    module = stacked.patcher.model.by_site["mid_block.motion_modules.0"]
    assert stacked.attends and stacked.positions == 32
    maps = AttentionMapRecorder()
    x = torch.randn(8, module.config.channels, 2, 2)
    whole = module(x, MotionInputs(4, taps=ModuleTaps((maps,), module)))
    separate = module(
        x, MotionInputs(4, views=Views((torch.arange(2), torch.arange(2, 4)), (torch.ones(1, 2, 1),) * 2))
    )
    assert [each.attention for each in maps.maps()] == ["0", "1"]
    assert not torch.equal(whole, separate)


def test_a_mode_that_is_none_is_refused():
    model = tiny_model()
    with expect_error("`mode` is 'behind'", "replace", "stack"):
        replace_modules(random_motion(model, "temporal_transformer"), new_model(model), "mid", "behind")


def test_a_motion_model_gains_a_module_where_it_had_none():
    trained = motion_model_from_tensors(motion_file(mid=False, positions=32), "v3.safetensors")
    mine = motion_model_from_tensors(motion_file(mid=True, positions=32), "v2.safetensors")
    after = replace_modules(trained, mine, "mid")
    assert set(after.specs) - set(trained.specs) == {"mid_block.motion_modules.0"}
    assert after.family.own_sites == tuple(after.specs)
    assert after.family.name == "AnimateDiff v3"


def test_precision_is_that_of_the_motion_model_that_is_changed():
    half = {name: tensor.half() for name, tensor in motion_file(mid=True, positions=32).items()}
    trained = motion_model_from_tensors(half, "v2.safetensors")
    mine = motion_model_from_tensors(motion_file(mid=True, positions=32), "mine.safetensors")
    dtypes = {name: tensor.dtype for name, tensor in copy_weights(trained.patcher).items()}
    assert {
        name: tensor.dtype for name, tensor in copy_weights(replace_modules(trained, mine, "*").patcher).items()
    } == dtypes


def test_one_wrong_pattern_among_good_ones_is_refused():
    trained, mine = (random_motion(tiny_model(), key) for key in ("temporal_transformer", "scale_shift"))
    with expect_error("'up.9'", "'new scale_shift'"):
        replace_modules(trained, mine, "mid, up.9")
    with expect_error("'up.9'", "the UNet"):
        new_model(tiny_model(), sites="up.9")


def test_modules_for_another_base_are_refused():
    with expect_error("'new scale_shift' is made for SDXL", "SD1.5"):
        replace_modules(
            random_motion(tiny_model(), "temporal_transformer"),
            untrained_motion(tiny_model("SDXL"), "scale_shift"),
            "*",
        )


def test_modules_of_another_width_are_refused():
    trained = random_motion(tiny_model(), "temporal_transformer")
    with expect_error("64 channels, not the 32", "down_blocks.0.motion_modules.0"):
        replace_modules(trained, untrained_motion(tiny_model(model_channels=64), "scale_shift"), "down.0")


def test_weights_with_a_lora_are_refused():
    trained, mine = (random_motion(tiny_model(), key) for key in ("temporal_transformer", "scale_shift"))
    name = next(iter(copy_weights(trained.patcher)))
    trained.patcher.add_patches({name: (torch.zeros_like(copy_weights(trained.patcher)[name]),)})
    with expect_error("has a LoRA on it"):
        replace_modules(trained, mine, "mid")


def test_what_a_lora_of_another_branch_left_in_place_is_neither_saved_nor_taken_over(tmp_path: Path):
    trained, mine = (random_motion(tiny_model(), key) for key in ("temporal_transformer", "scale_shift"))
    before = copy_weights(trained.patcher)
    branch = trained.patcher.clone()
    branch.add_patches({name: (torch.ones_like(weight),) for name, weight in before.items() if weight.ndim == 2})
    branch.patch_model()
    assert not same_weights(trained.patcher, before)
    save_motion_model(trained, tmp_path / "saved.safetensors")
    assert same_weights(load_motion_model(str(tmp_path / "saved.safetensors")).patcher, before)
    stacked = copy_weights(replace_modules(trained, mine, "mid", "stack").patcher)
    assert all(torch.equal(stacked[name], before[name]) for name in before if not name.startswith("mid_block"))


@pytest.mark.parametrize("mode", MODES)
def test_modules_of_other_packs_go_into_others_whatever_their_config_is(monkeypatch, mode):
    import_gain_pack(monkeypatch, Width)
    model = tiny_model()
    trained, mine = random_motion(model, "temporal_transformer"), random_motion(model, "gain")
    mixed = replace_modules(trained, mine, "mid", mode)
    assert not torch.equal(sample_with(model, mixed), sample_with(model, trained))
