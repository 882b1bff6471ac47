"""Files of motion models that were made here, by the Python API and by Save Motion Model."""

from pathlib import Path

import folder_paths
import pytest
import torch
from animatediff_loom.motion_modules.files.header import build_header
from animatediff_loom.motion_modules.files.loading import load_motion_model, motion_model_from_tensors
from animatediff_loom.motion_modules.files.replacing import MODES, replace_modules
from animatediff_loom.motion_modules.files.saving import save_motion_model
from animatediff_loom.nodes.save_motion_model import SaveMotionModel

from tests.support.host import copy_weights, same_weights, tiny_model
from tests.support.motion_models import import_pack, new_model, random_motion, sample_with, untrained_motion
from tests.support.texts import expect_error


@pytest.fixture
def output(tmp_path: Path, monkeypatch) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    monkeypatch.setattr(folder_paths, "output_directory", str(folder))
    return folder


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("key", ("temporal_transformer", "scale_shift", "space_time_attention", "temporal_convolution"))
def test_a_saved_mixture_makes_the_same_clip_bit_for_bit(key, mode, output: Path):
    model = tiny_model()
    mixed = replace_modules(
        random_motion(model, "temporal_transformer"), random_motion(model, key), "mid, down.2", mode
    )
    result = SaveMotionModel.execute(mixed, "motion/mine")
    file = output / result[0]
    assert file == output / "motion" / "mine_00001_.safetensors"
    again = load_motion_model(str(file))
    assert (again.specs, again.family, again.reason) == (mixed.specs, mixed.family, "its header")
    assert same_weights(again.patcher, copy_weights(mixed.patcher))
    assert torch.equal(sample_with(model, again), sample_with(model, mixed))


@pytest.mark.parametrize("frames", (8, 48))
def test_the_most_frames_are_the_same_when_loaded_again(frames, output: Path):
    made_new = new_model(tiny_model(), "space_time_attention", frames=frames, positions=16)
    again = load_motion_model(str(output / SaveMotionModel.execute(made_new, "mine.safetensors")[0]))
    assert again.positions == made_new.positions == max(frames, 16)
    assert again.specs == made_new.specs
    assert [file.name for file in output.iterdir()] == ["mine_00001_.safetensors"]


def test_files_are_numbered_and_never_overwritten(output: Path):
    motion_model = untrained_motion(tiny_model(), "temporal_convolution")
    files = [SaveMotionModel.execute(motion_model, "mine")[0] for _ in range(2)]
    assert files == ["mine_00001_.safetensors", "mine_00002_.safetensors"]
    assert all((output / file).is_file() for file in files)


@pytest.mark.parametrize("prefix", ("../outside", "/elsewhere/mine", "taken/mine"))
def test_places_that_cannot_be_written_are_refused(prefix, output: Path):
    (output / "taken").write_text("a file where a folder would have to be")
    with expect_error("`filename_prefix`", prefix, "output folder"):
        SaveMotionModel.execute(untrained_motion(tiny_model(), "temporal_convolution"), prefix)
    assert not list(output.parent.rglob("*.safetensors"))


@pytest.mark.parametrize("prefix", ("", " ", "mine\0", ".", "motion/.hidden", ".safetensors"))
def test_a_name_is_needed(prefix, output: Path):
    with expect_error(f"`filename_prefix` is {prefix!r}", "not a file name"):
        SaveMotionModel.execute(untrained_motion(tiny_model(), "temporal_convolution"), prefix)


def test_a_file_that_cannot_be_written_is_refused_and_gone(output: Path):
    with expect_error("could not be written", "disk"):
        SaveMotionModel.execute(untrained_motion(tiny_model(), "temporal_convolution"), 250 * "a")
    assert not list(output.iterdir())


def test_a_stack_without_the_pack_of_one_member_is_refused_by_name(monkeypatch, tmp_path: Path):
    model = tiny_model()
    with monkeypatch.context() as loaded:
        import_pack("wobble_pack", loaded)
        stacked = replace_modules(
            random_motion(model, "temporal_transformer"), new_model(model, "wobble"), "mid", "stack"
        )
        save_motion_model(stacked, tmp_path / "stacked.safetensors")
        assert load_motion_model(str(tmp_path / "stacked.safetensors")).specs == stacked.specs
    with expect_error("stacked.safetensors", "'wobble'", "wobble_pack", "Install"):
        load_motion_model(str(tmp_path / "stacked.safetensors"))


@pytest.mark.parametrize("number", ("2", "one"))
def test_a_damaged_stack_is_refused(number):
    model = tiny_model()
    stacked = replace_modules(
        random_motion(model, "temporal_transformer"), random_motion(model, "scale_shift"), "mid", "stack"
    )
    tensors = {
        name.replace("+scale_shift.1.", f"+scale_shift.{number}."): t
        for name, t in copy_weights(stacked.patcher).items()
    }
    metadata = build_header(stacked.family, stacked.specs)
    with expect_error("damaged.safetensors", "temporal_transformer+scale_shift"):
        motion_model_from_tensors(tensors, "damaged.safetensors", metadata=metadata)


def test_a_stack_without_header_names_the_missing_member():
    model = tiny_model()
    stacked = replace_modules(
        random_motion(model, "temporal_transformer"), random_motion(model, "scale_shift"), "mid", "stack"
    )
    tensors = {
        name.replace("+scale_shift.", "+unheard_of."): tensor for name, tensor in copy_weights(stacked.patcher).items()
    }
    with expect_error("stacked.pt", "'unheard_of'", "Install"):
        motion_model_from_tensors(tensors, "stacked.pt")
    again = motion_model_from_tensors(copy_weights(stacked.patcher), "stacked.pt")
    assert again.family.name == "custom scale_shift and temporal_transformer"


def test_files_of_a_newer_version_are_refused():
    motion_model = untrained_motion(tiny_model(), "scale_shift")
    metadata = build_header(motion_model.family, motion_model.specs)
    newer = {name: text.replace('"version": 1', '"version": 2') for name, text in metadata.items()}
    with expect_error("newer.safetensors", "format 2", "Update"):
        motion_model_from_tensors(copy_weights(motion_model.patcher), "newer.safetensors", metadata=newer)
