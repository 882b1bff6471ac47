import subprocess
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from host.checkout import python_in
from host.environment import TEST_REQUIREMENTS, TORCH, host_requirements, install, make_venv, read_requirements
from host.errors import SetupError

BROKEN_OFF = """
import pathlib, sys
python = pathlib.Path(sys.argv[-1], {python!r})
python.parent.mkdir(parents=True)
python.touch()
sys.exit("ensurepip is not available")
"""


def test_torch_is_left_to_the_pinned_trio(tmp_path: Path):
    lines = ["torch", "torchvision>=0.1", "torchaudio", "torchsde", "numpy>=1.25.0  # arrays", "", "#note", "av>=16"]
    (tmp_path / "requirements.txt").write_text("\n".join(lines))
    assert host_requirements(tmp_path) == ["torchsde", "numpy>=1.25.0", "av>=16"]


def test_a_set_that_was_installed_is_not_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    commands = []
    monkeypatch.setattr("host.environment.run", lambda command, purpose: commands.append(command))
    for requirements in (["a==1"], ["a==1"], ["a==2"], ["a==1"]):
        install(tmp_path, requirements, "Installing")
    assert [command[-1] for command in commands] == ["a==1", "a==2"]


def test_every_tool_of_the_tests_is_pinned():
    assert all("==" in line for line in (*TORCH, *read_requirements(TEST_REQUIREMENTS)))


def test_an_environment_without_pip_is_completed(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """It may be half of one that was broken off, or a whole one of a tool that brings no pip.

    One line says what is installed there; pip prints nothing, and its log is kept.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    (tmp_path / "installed").touch()
    for _ in range(2):
        subprocess.run([make_venv(tmp_path), "-c", "import pip"], check=True)
        assert (tmp_path / "installed").exists()

    install(tmp_path, [str(write_wheel(tmp_path, size=200_000_000))], "Installing one wheel")
    (line,) = capfd.readouterr().out.split("Making ")[-1].splitlines()[1:]
    assert line.startswith(f"Installing one wheel (once, takes minutes; log: {tmp_path / 'pip.log'}) ... 0.2 GB in ")
    assert "Successfully installed zeros" in (tmp_path / "pip.log").read_text(encoding="utf-8")


def write_wheel(folder: Path, size: int) -> Path:
    """Write a wheel that installs `size` bytes of zeros."""
    file, info = folder / "zeros-1.0-py3-none-any.whl", "zeros-1.0.dist-info"
    with ZipFile(file, "w", ZIP_DEFLATED) as wheel:
        wheel.writestr("zeros.bin", bytes(size), compresslevel=1)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: zeros\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return file


def test_an_environment_that_fails_says_what_to_install_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    venv = tmp_path / "environment"
    (tmp_path / "venv.py").write_text(BROKEN_OFF.format(python=str(python_in(Path()))))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"apt install python3\.\d+-venv\) failed with exit status 1"):
        make_venv(venv)
    assert not venv.exists()
