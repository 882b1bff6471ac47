"""New motion models, modules swapped at chosen sites, and files of the result, by the Python API and by the nodes."""

from pathlib import Path
from typing import NamedTuple

import folder_paths
import pytest
import torch
from animatediff_loom.motion_modules.attention import WATCHER
from animatediff_loom.motion_modules.attention_maps import AttentionMaps
from animatediff_loom.motion_modules.contract import UNLIMITED, MotionInputs, Views
from animatediff_loom.motion_modules.fresh import new_motion_model
from animatediff_loom.motion_modules.loader import load_motion_model, motion_model_from_tensors
from animatediff_loom.motion_modules.own_files import header_of, save_motion_model
from animatediff_loom.motion_modules.placement import MotionSettings
from animatediff_loom.motion_modules.registry import ARCHITECTURES
from animatediff_loom.motion_modules.replacing import MODES, replace_modules
from animatediff_loom.motion_modules.site_patterns import sites_like
from animatediff_loom.motion_modules.unet_sites import unet_sites
from animatediff_loom.nodes.custom_modules import NewMotionModel, ReplaceMotionModules, SaveMotionModel
from animatediff_loom.sampling.animate import AS_THE_MODEL, animate
from architectures import KEYS, SMALL, acting, import_pack, list_modules, made
from clips import sample
from host_models import tiny_dit, tiny_model
from motion_files import motion_file
from refusals import refused
from torch import nn

SITES = tuple(unet_sites(tiny_model().model.diffusion_model))


def film(model, motion_model) -> torch.Tensor:
    return sample(animate(model, motion_model, MotionSettings(), AS_THE_MODEL), steps=1)


def new(model, key: str = "scale_shift", frames: int = 8, sites: str = "*", **options):
    given = {"architecture": key, "positions": 8, "width": 64, "height": 64} | options
    return NewMotionModel.execute(model, given, frames, sites)[0]


def weights(motion_model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in motion_model.patcher.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def offered() -> dict[str, list[str]]:
    """The choices of New Motion Model, and the inputs of each."""
    (combo,) = [each for each in NewMotionModel.GET_SCHEMA().inputs if each.id == "architecture"]
    return {option.key: [each.id for each in option.inputs] for option in combo.options}


@pytest.fixture
def output(tmp_path: Path, monkeypatch) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    monkeypatch.setattr(folder_paths, "output_directory", str(folder))
    return folder


@pytest.mark.parametrize("base", ("SD1.5", "SDXL"))
@pytest.mark.parametrize("key", KEYS)
def test_a_new_motion_model_is_the_identity_bit_for_bit(key, base):
    model = tiny_model(base)
    motion_model = new(model, key)
    assert {site.architecture.key for site in motion_model.sites.values()} == {key}
    assert motion_model.family.trained_frames == 8
    assert torch.equal(film(model, motion_model), sample(model, steps=1))


def test_a_new_motion_model_at_chosen_sites():
    assert set(new(tiny_model(), sites="mid, up.1").sites) == {
        "mid_block.motion_modules.0",
        *(f"up_blocks.1.motion_modules.{index}" for index in range(3)),
    }


def test_every_registered_architecture_is_offered_with_what_it_needs():
    choices = offered()
    assert next(iter(choices)) == "temporal_transformer"
    assert set(choices) == set(ARCHITECTURES)
    assert choices["temporal_convolution"] == []
    assert choices["scale_shift"] == ["positions"]
    assert choices["space_time_attention"] == ["positions", "width", "height"]


def test_those_of_other_packs_are_offered_as_soon_as_they_are_there(monkeypatch):
    assert "wobble" not in offered()
    import_pack("wobble_pack", monkeypatch)
    assert "wobble" in offered()
    model = tiny_model()
    assert torch.equal(film(model, new(model, "wobble")), sample(model, steps=1))


@pytest.mark.parametrize("trained", ("temporal_transformer", "low_rank_attention"))
def test_a_swap_changes_only_its_sites(trained):
    model = tiny_model()
    before, mine = acting(model, trained), acting(model, "scale_shift")
    kept, taken = weights(before), weights(mine)
    after = ReplaceMotionModules.execute(before, mine, "down.1, mid")[0]

    chosen = [*(name for name in SITES if name.startswith("down_blocks.1.")), "mid_block.motion_modules.0"]
    assert {n for n, site in after.sites.items() if site.architecture.key == "scale_shift"} == set(chosen)
    prefixes = tuple(f"{name}." for name in chosen)
    expected = {n: t for n, t in kept.items() if not n.startswith(prefixes)}
    expected |= {n: t for n, t in taken.items() if n.startswith(prefixes)}
    assert same(weights(after), expected)
    assert not torch.equal(film(model, after), film(model, before))


def test_the_originals_are_untouched():
    model = tiny_model()
    before, mine = acting(model, "temporal_transformer"), acting(model, "temporal_convolution")
    kept, clips = [weights(each) for each in (before, mine)], [film(model, each) for each in (before, mine)]
    after = replace_modules(before, mine, "up")
    for weight in after.patcher.model.parameters():
        weight.zero_()
    assert all(same(weights(each), was) for each, was in zip((before, mine), kept, strict=True))
    assert all(torch.equal(film(model, each), clip) for each, clip in zip((before, mine), clips, strict=True))
    assert set(before.sites) == set(SITES) and {s.architecture.key for s in before.sites.values()} == {
        "temporal_transformer"
    }


def test_fresh_modules_switch_off_those_that_they_replace():
    model = tiny_model()
    after = replace_modules(acting(model, "temporal_transformer"), made(model, "scale_shift"), "*")
    assert torch.equal(film(model, after), sample(model, steps=1))


@pytest.mark.parametrize("key", KEYS)
def test_a_stack_is_as_two_motion_models_one_behind_the_other(key):
    model = tiny_model()
    trained, mine = acting(model, "temporal_transformer"), acting(model, key)
    stacked = ReplaceMotionModules.execute(trained, mine, "*", "stack")[0]
    assert {site.architecture.key for site in stacked.sites.values()} == {
        f"temporal_transformer+{key}",
        *({"temporal_transformer"} if len(mine.sites) < len(SITES) else ()),
    }
    in_two = film(animate(model, trained, MotionSettings(), AS_THE_MODEL), mine)
    assert torch.equal(film(model, stacked), in_two)
    assert not torch.equal(in_two, film(model, trained))


def test_fresh_modules_behind_trained_ones_change_nothing():
    model = tiny_model()
    trained = acting(model, "temporal_transformer")
    assert torch.equal(film(model, replace_modules(trained, new(model), "*", "stack")), film(model, trained))


def test_three_in_a_stack_keep_their_order_and_can_be_replaced():
    model = tiny_model()
    first, second, third = (acting(model, key) for key in ("scale_shift", "temporal_convolution", "scale_shift"))
    both = replace_modules(first, replace_modules(second, third, "*", "stack"), "mid", "stack")
    (middle,) = (site for name, site in both.sites.items() if name.startswith("mid"))
    assert middle.architecture.key == "scale_shift+temporal_convolution+scale_shift"
    one_by_one = replace_modules(replace_modules(first, second, "mid", "stack"), third, "mid", "stack")
    assert same(weights(one_by_one), weights(both)) and one_by_one.sites == both.sites
    assert same(weights(replace_modules(both, first, "mid")), weights(first))


def test_a_stack_attends_in_views_and_is_watched_by_the_names_of_its_members():
    model = tiny_model()
    stacked = replace_modules(*(acting(model, key) for key in ("low_rank_attention",) * 2), "mid", "stack")
    module = stacked.patcher.model.by_site["mid_block.motion_modules.0"]
    assert stacked.attends and stacked.positions == 32
    maps = AttentionMaps()
    watcher = maps.watcher("mine", "mid", module, frames=4)
    x = torch.randn(8, module.config.channels, 2, 2)
    whole = module(x, MotionInputs(4, host_options={WATCHER: watcher}))
    apart = module(x, MotionInputs(4, views=Views((torch.arange(2), torch.arange(2, 4)), (torch.ones(1, 2, 1),) * 2)))
    assert [each.attention for each in maps.maps()] == ["0", "1"]
    assert not torch.equal(whole, apart)


def test_a_mode_that_is_none_is_refused():
    model = tiny_model()
    with refused("`mode` is 'behind'", "replace", "stack"):
        replace_modules(acting(model, "temporal_transformer"), new(model), "mid", "behind")


def test_a_motion_model_gains_a_module_where_it_had_none():
    trained = motion_model_from_tensors(motion_file(mid=False, positions=32), "v3.safetensors")
    mine = motion_model_from_tensors(motion_file(mid=True, positions=32), "v2.safetensors")
    after = replace_modules(trained, mine, "mid")
    assert set(after.sites) - set(trained.sites) == {"mid_block.motion_modules.0"}
    assert after.family.own_sites == tuple(after.sites)
    assert after.family.name == "AnimateDiff v3"


def test_precision_is_that_of_the_motion_model_that_is_changed():
    half = {name: tensor.half() for name, tensor in motion_file(mid=True, positions=32).items()}
    trained = motion_model_from_tensors(half, "v2.safetensors")
    mine = motion_model_from_tensors(motion_file(mid=True, positions=32), "mine.safetensors")
    dtypes = {name: tensor.dtype for name, tensor in weights(trained).items()}
    assert {name: tensor.dtype for name, tensor in weights(replace_modules(trained, mine, "*")).items()} == dtypes


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("key", ("temporal_transformer", "scale_shift", "space_time_attention", "temporal_convolution"))
def test_a_saved_mixture_makes_the_same_clip_bit_for_bit(key, mode, output: Path):
    model = tiny_model()
    mixed = replace_modules(acting(model, "temporal_transformer"), acting(model, key), "mid, down.2", mode)
    result = SaveMotionModel.execute(mixed, "motion/mine")
    file = output / result[0]
    assert file == output / "motion" / "mine_00001_.safetensors"
    again = load_motion_model(str(file))
    assert (again.sites, again.family, again.reason) == (mixed.sites, mixed.family, "its header")
    assert same(weights(again), weights(mixed))
    assert torch.equal(film(model, again), film(model, mixed))


def test_files_are_numbered_and_never_overwritten(output: Path):
    motion_model = made(tiny_model(), "temporal_convolution")
    files = [SaveMotionModel.execute(motion_model, "mine")[0] for _ in range(2)]
    assert files == ["mine_00001_.safetensors", "mine_00002_.safetensors"]
    assert all((output / file).is_file() for file in files)


@pytest.mark.parametrize("prefix", ("../outside", "/elsewhere/mine", "taken/mine"))
def test_places_that_cannot_be_written_are_refused(prefix, output: Path):
    (output / "taken").write_text("a file where a folder would have to be")
    with refused("`filename_prefix`", prefix, "output folder"):
        SaveMotionModel.execute(made(tiny_model(), "temporal_convolution"), prefix)
    assert not list(output.parent.rglob("*.safetensors"))


@pytest.mark.parametrize("prefix", ("", " ", "mine\0"))
def test_a_name_is_needed(prefix, output: Path):
    with refused(f"`filename_prefix` is {prefix!r}", "no name of a file"):
        SaveMotionModel.execute(made(tiny_model(), "temporal_convolution"), prefix)


def test_a_file_that_cannot_be_written_is_refused_and_gone(output: Path):
    with refused("could not be written", "disk"):
        SaveMotionModel.execute(made(tiny_model(), "temporal_convolution"), 250 * "a")
    assert not list(output.iterdir())


@pytest.mark.parametrize(
    ("pattern", "count"),
    (
        ("*", 21),
        ("mid", 1),
        ("down", 8),
        ("down.1", 2),
        ("down 1.0", 1),
        ("UP.*, up.3", 12),
        ("up_blocks.1.motion_modules.2\nmid_block.motion_modules.0,", 2),
        ("down.1\uff0cmid\u3001up.1.0\uff1bup.1.1;up.1.2", 6),
        ("*.0.0, mid", 3),
    ),
)
def test_patterns(pattern, count):
    found = sites_like(pattern, SITES, "the UNet")
    assert len(found) == count
    assert found == [name for name in SITES if name in found]


@pytest.mark.parametrize("pattern", ("down.4", "middle", "", " , ", "mid.1", "down.1.motion"))
def test_patterns_that_fit_nothing_are_refused_with_the_names_that_exist(pattern):
    with refused("`sites`", "the UNet", "down.0.0, down.0.1", "up.3.2"):
        sites_like(pattern, SITES, "the UNet")


def test_one_wrong_pattern_among_good_ones_is_refused():
    trained, mine = (acting(tiny_model(), key) for key in ("temporal_transformer", "scale_shift"))
    with refused("'up.9'", "'new scale_shift'"):
        replace_modules(trained, mine, "mid, up.9")
    with refused("'up.9'", "the UNet"):
        new(tiny_model(), sites="up.9")


def test_modules_for_another_base_are_refused():
    with refused("'new scale_shift' is made for SDXL", "SD1.5"):
        replace_modules(acting(tiny_model(), "temporal_transformer"), made(tiny_model("SDXL"), "scale_shift"), "*")


def test_modules_of_another_width_are_refused():
    trained = acting(tiny_model(), "temporal_transformer")
    with refused("64 channels, not the 32", "down_blocks.0.motion_modules.0"):
        replace_modules(trained, made(tiny_model(model_channels=64), "scale_shift"), "down.0")


def test_weights_with_a_lora_are_refused():
    trained, mine = (acting(tiny_model(), key) for key in ("temporal_transformer", "scale_shift"))
    name = next(iter(weights(trained)))
    trained.patcher.add_patches({name: (torch.zeros_like(weights(trained)[name]),)})
    with refused("has a LoRA on it"):
        replace_modules(trained, mine, "mid")


def test_what_a_lora_of_another_branch_left_in_place_is_neither_saved_nor_taken_over(tmp_path: Path):
    trained, mine = (acting(tiny_model(), key) for key in ("temporal_transformer", "scale_shift"))
    before = weights(trained)
    branch = trained.patcher.clone()
    branch.add_patches({name: (torch.ones_like(weight),) for name, weight in before.items() if weight.ndim == 2})
    branch.patch_model()
    assert not same(weights(trained), before)
    save_motion_model(trained, tmp_path / "saved.safetensors")
    assert same(weights(load_motion_model(str(tmp_path / "saved.safetensors"))), before)
    stacked = weights(replace_modules(trained, mine, "mid", "stack"))
    assert all(torch.equal(stacked[name], before[name]) for name in before if not name.startswith("mid_block"))


def test_a_model_that_is_no_unet_is_refused():
    with refused("MMDIT", "need a UNet"):
        new(tiny_dit())


def test_a_stack_without_the_pack_of_one_member_is_refused_by_name(monkeypatch, tmp_path: Path):
    model = tiny_model()
    with monkeypatch.context() as loaded:
        import_pack("wobble_pack", loaded)
        stacked = replace_modules(acting(model, "temporal_transformer"), new(model, "wobble"), "mid", "stack")
        save_motion_model(stacked, tmp_path / "stacked.safetensors")
        assert load_motion_model(str(tmp_path / "stacked.safetensors")).sites == stacked.sites
    with refused("stacked.safetensors", "'wobble'", "wobble_pack", "install"):
        load_motion_model(str(tmp_path / "stacked.safetensors"))


@pytest.mark.parametrize("number", ("2", "one"))
def test_a_damaged_stack_is_refused(number):
    model = tiny_model()
    stacked = replace_modules(acting(model, "temporal_transformer"), acting(model, "scale_shift"), "mid", "stack")
    tensors = {name.replace("+scale_shift.1.", f"+scale_shift.{number}."): t for name, t in weights(stacked).items()}
    metadata = header_of(stacked.family, stacked.sites)
    with refused("damaged.safetensors", "temporal_transformer+scale_shift"):
        motion_model_from_tensors(tensors, "damaged.safetensors", metadata=metadata)


def test_everywhere_means_wherever_it_can_be_also_beside_other_patterns():
    sizes = {"width": 1024, "height": 1024}
    coarse = new(tiny_model(), "space_time_attention", **sizes).sites
    assert 0 < len(coarse) < len(SITES)
    assert new(tiny_model(), "space_time_attention", sites="*, down.0", **sizes).sites == coarse


@pytest.mark.parametrize("frames", (8, 48))
def test_the_most_frames_are_the_same_when_loaded_again(frames, output: Path):
    made_new = new(tiny_model(), "space_time_attention", frames=frames, positions=16)
    again = load_motion_model(str(output / SaveMotionModel.execute(made_new, "mine.safetensors")[0]))
    assert again.positions == made_new.positions == max(frames, 16)
    assert again.sites == made_new.sites
    assert [file.name for file in output.iterdir()] == ["mine_00001_.safetensors"]


class Width(NamedTuple):
    """A config that dataclasses.replace does not take."""

    channels: int
    positions: int = UNLIMITED

    @classmethod
    def for_site(cls, site):
        return cls(site.channels)

    @classmethod
    def from_shapes(cls, shapes, training):
        return cls(*shapes["gain"])


class WideOnly(Width):
    @classmethod
    def for_site(cls, site):
        if site.channels < 64:
            raise ValueError(f"{site.channels} channels are too few")
        return cls(site.channels)


class Gain(nn.Module):
    def __init__(self, config, ops=nn, **factory):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(config.channels, **factory))

    def forward(self, x, inputs):
        return inputs.add(x, x * self.gain.to(x)[:, None, None])


@pytest.fixture
def gain_pack(monkeypatch):
    """Imports a pack whose module `gain` has this config."""

    def imported(config: type) -> None:
        list_modules(monkeypatch, "gain_pack", {"key": "gain", "module": Gain, "config": config, "attends": False})

    return imported


@pytest.mark.parametrize("mode", MODES)
def test_modules_of_other_packs_go_into_others_whatever_their_config_is(gain_pack, mode):
    gain_pack(Width)
    model = tiny_model()
    trained, mine = acting(model, "temporal_transformer"), acting(model, "gain")
    mixed = replace_modules(trained, mine, "mid", mode)
    assert not torch.equal(film(model, mixed), film(model, trained))


def test_code_that_fails_for_a_width_is_refused(gain_pack):
    gain_pack(WideOnly)
    with refused("gain", "down_blocks.0.motion_modules.0", "ValueError", "32 channels are too few"):
        new(tiny_model(), "gain")


def test_a_stack_without_header_names_the_missing_member():
    model = tiny_model()
    stacked = replace_modules(acting(model, "temporal_transformer"), acting(model, "scale_shift"), "mid", "stack")
    tensors = {name.replace("+scale_shift.", "+unheard_of."): tensor for name, tensor in weights(stacked).items()}
    with refused("stacked.pt", "'unheard_of'", "install"):
        motion_model_from_tensors(tensors, "stacked.pt")
    again = motion_model_from_tensors(weights(stacked), "stacked.pt")
    assert again.family.name == "custom scale_shift and temporal_transformer"


def test_files_of_a_newer_version_are_refused():
    motion_model = made(tiny_model(), "scale_shift")
    metadata = header_of(motion_model.family, motion_model.sites)
    newer = {name: text.replace('"version": 1', '"version": 2') for name, text in metadata.items()}
    with refused("newer.safetensors", "format 2", "update"):
        motion_model_from_tensors(weights(motion_model), "newer.safetensors", metadata=newer)


def test_an_unknown_beta_schedule_is_refused_when_it_is_applied():
    model = tiny_model()
    motion_model = new_motion_model(model, "scale_shift", SMALL, beta_schedule="cosine")
    with refused("beta_schedule is 'cosine'", "AnimateDiff (linear)"):
        animate(model, motion_model, MotionSettings())
