from pathlib import Path

import pytest
from host.environment import TEST_REQUIREMENTS, TORCH, host_requirements, install, read_requirements


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
