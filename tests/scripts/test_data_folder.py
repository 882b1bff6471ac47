from pathlib import Path

from host.checkout import PACK, ROOT
from host.data_folder import link_folder, make_data_folder, place_model


def test_the_checkout_is_the_only_custom_node(tmp_path: Path):
    for _ in range(2):
        folder = make_data_folder(tmp_path / "data")
    assert [entry.name for entry in (folder / "custom_nodes").iterdir()] == [PACK]
    assert (folder / "custom_nodes" / PACK / "__init__.py").samefile(ROOT / "__init__.py")


def test_a_link_to_a_checkout_that_moved_is_made_anew(tmp_path: Path):
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    link_folder(tmp_path / "old", tmp_path / "link")
    (tmp_path / "old").rmdir()
    link_folder(tmp_path / "new", tmp_path / "link")
    assert (tmp_path / "link").samefile(tmp_path / "new")


def test_a_model_is_placed_under_its_name_and_replaced_by_its_namesake(tmp_path: Path):
    for content in ("one", "two"):
        file = tmp_path / content / "model.safetensors"
        file.parent.mkdir()
        file.write_text(content)
        assert place_model(file, tmp_path / "data", "checkpoints") == "model.safetensors"
    assert (tmp_path / "data/models/checkpoints/model.safetensors").read_text() == "two"
    assert (tmp_path / "one/model.safetensors").read_text() == "one"
