"""Load Motion Model where the folder of motion models is empty, or lacks the file of a workflow."""

from pathlib import Path

import folder_paths
import pytest
from animatediff_loom.nodes.load_motion_model import LoadMotionModel
from safetensors.torch import save_file

from tests.support.motion_files import V3
from tests.support.texts import check_sentence, expect_error


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """The only folder of motion models, still empty."""
    paths = {"animatediff_models": ([str(tmp_path)], {".safetensors", ".ckpt"})}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", folder_paths.folder_names_and_paths | paths)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


def list_options() -> list[str]:
    (combo,) = [each for each in LoadMotionModel.define_schema().inputs if each.id == "motion_model"]
    return combo.options


@pytest.mark.parametrize("chosen", ("v3.safetensors", "(no file in models/animatediff_models)"))
def test_an_empty_folder_is_named_with_what_to_download(folder, chosen):
    assert list_options() == ["(no file in models/animatediff_models)"]
    parts = ("`motion_model` is empty", str(folder), "Download one", "mm_sd15_v3.safetensors", "press R")
    check_sentence(LoadMotionModel.validate_inputs(motion_model=chosen), *parts)
    with expect_error(*parts):
        LoadMotionModel.execute(chosen)


def test_a_missing_file_is_named_with_its_folder(folder):
    save_file(V3.file(), folder / "other.safetensors")
    assert list_options() == ["other.safetensors"]
    parts = ("`motion_model` is 'v3.safetensors'", str(folder), "Choose another one")
    check_sentence(LoadMotionModel.validate_inputs(motion_model="v3.safetensors"), *parts)
    for run in (LoadMotionModel.execute, LoadMotionModel.fingerprint_inputs):
        with expect_error(*parts):
            run("v3.safetensors")


def test_a_file_that_is_there_is_accepted(folder):
    save_file(V3.file(), folder / "v3.safetensors")
    assert LoadMotionModel.validate_inputs(motion_model="v3.safetensors") is True
    assert LoadMotionModel.validate_inputs() is True  # the name comes from another node
    assert LoadMotionModel.execute("v3.safetensors")[0].name == "v3.safetensors"
