from pathlib import Path

import pytest
from host.weights import NOISE, RECIPE, ModelFiles, complete_pair


@pytest.fixture
def synthetic(tmp_path: Path) -> ModelFiles:
    """Files where the synthetic weights of full size are kept, so that none are made."""
    place = tmp_path / f"recipe-{RECIPE}"
    place.mkdir()
    files = ModelFiles(place / "synthetic_sd15.safetensors", place / "synthetic_v3_motion.safetensors")
    files.checkpoint.touch()
    files.motion_model.touch()
    return files


@pytest.mark.parametrize("checkpoint", [None, Path("my_checkpoint")])
@pytest.mark.parametrize("motion_model", [None, Path("my_motion_model")])
def test_what_was_not_given_is_synthetic_and_noise_is_announced(
    synthetic: ModelFiles, tmp_path: Path, capsys, checkpoint: Path | None, motion_model: Path | None
):
    files = complete_pair(checkpoint, motion_model, Path("no-python"), Path("no-tree"), tmp_path)
    assert files == ModelFiles(checkpoint or synthetic.checkpoint, motion_model or synthetic.motion_model)
    assert (NOISE in capsys.readouterr().out) == (not (checkpoint and motion_model))
