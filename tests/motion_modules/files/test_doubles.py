"""Weights under two names in a file: the better one is used, whatever their order, and the user is told."""

import logging

import pytest
import torch
from animatediff_loom.motion_modules.describe import describe
from animatediff_loom.motion_modules.files.loading import load_motion_model, motion_model_from_tensors
from safetensors.torch import save_file

from tests.support.host import same_weights
from tests.support.motion_files import V3, as_diffusers, from_diffusers
from tests.support.texts import expect_error

NAME = "up_blocks.3.motion_modules.2.temporal_transformer.proj_in.weight"
EMA_PREFIXES = ("ema.", "model_ema.", "ema_unet.module.", "state_dict_ema.", "EMA.unet.", "EMAModel.", "unetEma.")


def with_prefix(prefix: str, tensors: dict) -> dict:
    return {prefix + name: tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("prefix", EMA_PREFIXES)
@pytest.mark.parametrize("ema_last", (True, False))
@pytest.mark.parametrize("plain", ("", "module."))
def test_an_average_of_training_steps_is_preferred(prefix, ema_last, plain):
    parts = with_prefix(plain, V3.file(seed=1)), with_prefix(prefix, V3.file(seed=2))
    first, second = parts if ema_last else parts[::-1]
    motion_model = motion_model_from_tensors(first | second, "double.ckpt")
    assert same_weights(motion_model.patcher, V3.file(seed=2))
    (note,) = motion_model.notes
    assert f"'{prefix}down_blocks." in note and f"not '{plain}down_blocks." in note
    assert f"notes: {note}" in describe(motion_model)


@pytest.mark.parametrize("suffix", (".safetensors", ".ckpt", ".pt"))
def test_the_choice_is_in_the_log_once(suffix, tmp_path, caplog):
    path = tmp_path / f"double{suffix}"
    tensors = with_prefix("ema.", V3.file(seed=2)) | with_prefix("module.", V3.file(seed=1))
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    with caplog.at_level(logging.WARNING):
        assert same_weights(load_motion_model(str(path)).patcher, V3.file(seed=2))
    (message,) = [each for each in caplog.messages if "under two names" in each]
    assert path.name in message


@pytest.mark.parametrize("key", ("state_dict_ema", "ema", "ema_state_dict"))
def test_an_average_beside_the_state_dict_of_a_checkpoint_is_read_too(key, tmp_path):
    """ComfyUI returns `state_dict` alone."""
    path = tmp_path / "trainer.ckpt"
    torch.save({"epoch": 1, "state_dict": V3.file(seed=1), key: V3.file(seed=2)}, path)
    motion_model = load_motion_model(str(path))
    assert same_weights(motion_model.patcher, V3.file(seed=2))
    assert f"'{key}.down_blocks." in motion_model.notes[0]


def flatten(prefix: str, tensors: dict) -> dict:
    """Spell an average as LitEma does: names without dots, and only of weights that are trained."""
    trained = {name: tensor for name, tensor in tensors.items() if not name.endswith(".pe")}
    return {f"{prefix}{name.replace('.', '')}": tensor for name, tensor in trained.items()}


@pytest.mark.parametrize("plain", ("", "model.diffusion_model.", "module."))
def test_an_average_without_dots_is_preferred(plain):
    average = flatten("model_ema.diffusion_model", V3.file(seed=2)) | {"model_ema.decay": torch.zeros(())}
    motion_model = motion_model_from_tensors(average | with_prefix(plain, V3.file(seed=1)), "double.ckpt")
    tables = {name: tensor for name, tensor in V3.file(seed=1).items() if name.endswith(".pe")}
    assert same_weights(motion_model.patcher, V3.file(seed=2) | tables)
    assert f"not '{plain}down_blocks." in motion_model.notes[0]


def test_an_average_without_some_weights_is_not_mixed_with_the_plain_ones():
    average = {name: tensor for name, tensor in V3.file(seed=2).items() if name != NAME}
    motion_model = motion_model_from_tensors(V3.file(seed=1) | with_prefix("ema.", average), "double.ckpt")
    assert same_weights(motion_model.patcher, V3.file(seed=1))
    first, second = motion_model.notes
    assert f"the EMA 'ema.' lacks 1 of {len(V3.file())} weights, such as '{NAME}'" in first
    assert "'down_blocks." in second and "not 'ema.down_blocks." in second


def test_a_whole_average_counts_before_one_that_lacks_weights():
    partial = {name: tensor for name, tensor in V3.file(seed=3).items() if name.startswith("down")}
    parts = with_prefix("ema_unet.", V3.file(seed=2)) | V3.file(seed=1) | with_prefix("ema.", partial)
    assert same_weights(motion_model_from_tensors(parts, "double.ckpt").patcher, V3.file(seed=2))


def test_without_an_average_the_later_of_two_names_counts():
    tensors = with_prefix("module.", V3.file(seed=1)) | V3.file(seed=2)
    motion_model = motion_model_from_tensors(tensors, "double.ckpt")
    assert same_weights(motion_model.patcher, V3.file(seed=2))
    assert "is used, not 'module." in motion_model.notes[0]


def test_two_spellings_of_a_weight():
    original = V3.file(seed=1)
    spelled = {name: tensor for name, tensor in as_diffusers(V3.file(seed=2)).items() if name.endswith("norm1.weight")}
    motion_model = motion_model_from_tensors(original | spelled, "double.ckpt")
    assert same_weights(motion_model.patcher, original | from_diffusers(spelled))
    assert "20 weights are in the file under two names" in motion_model.notes[0]


def test_equal_weights_under_two_names_need_no_word():
    tensors = V3.file()
    motion_model = motion_model_from_tensors(
        with_prefix("module.", tensors) | with_prefix("ema.", tensors), "same.ckpt"
    )
    assert motion_model.notes == () and "notes" not in describe(motion_model)


def test_a_key_that_two_dictionaries_form_is_refused():
    with expect_error("'double.ckpt'", "two tensors named 'a.b'", "Keep one"):
        motion_model_from_tensors({"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}}, "double.ckpt")
