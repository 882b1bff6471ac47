"""The trial of a pack's motion modules runs without a server."""

import shutil
import sys
from pathlib import Path

import pytest
from host.errors import SetupError
from try_modules import main, try_pack

from tests.support.motion_models import OTHER_PACKS
from tests.support.texts import check_sentence


@pytest.fixture
def forgotten():
    """Forget the packs that a test imports, which the registry would find in later tests."""
    before = {*sys.modules}
    yield
    for name in {*sys.modules} - before:
        del sys.modules[name]


@pytest.mark.usefixtures("forgotten")
def test_a_pack_passes_or_is_told_why_not(tmp_path: Path, tree: Path, capsys):
    for name, change in (("fine", ""), ("unscaled", "x + x * wobble[:, :, None, None]")):
        folder = shutil.copytree(OTHER_PACKS / "wobble_pack", tmp_path / name)
        code = (folder / "__init__.py").read_text(encoding="utf-8").replace('"wobble"', f'"wobble_{name}"')
        code = code.replace("inputs.add(x, x * wobble[:, :, None, None])", change) if change else code
        (folder / "__init__.py").write_text(code, encoding="utf-8")
        status = try_pack(folder, tree)
        assert status == bool(change)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "'wobble_fine' passes."
    assert printed[1].startswith("The motion module 'wobble_unscaled' of 'unscaled' does not scale its change")


def test_a_folder_without_a_pack_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["try_modules.py", str(tmp_path)])
    with pytest.raises(SetupError) as error:
        main()
    check_sentence(str(error.value), str(tmp_path), "__init__.py")
