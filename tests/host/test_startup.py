"""The pack loads in the host without a warning, and not at all in a host that is too old."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from host.checkout import PACK
from host.loom_mini import MOTION_MODEL
from host.releases import TOO_OLD, host_tree
from host.server import Server, ServerError

IMPORTED = re.compile(rf"\d+\.\d+ seconds: \S*{PACK}")


def test_import_is_silent(host_server: Server):
    starting = plain_log(host_server).partition("Starting server")[0]
    (line,) = (line for line in starting.splitlines() if PACK in line)
    assert IMPORTED.search(line)


def test_motion_models_in_custom_folders(make_server: Callable[..., Server], tmp_path: Path):
    """With `extra_model_paths.yaml`, in every format that the node says it accepts, and below subfolders."""
    files = ["a.safetensors", "b.ckpt", "c.pt", "kept/d.pth"]
    for name in (*files, "notes.txt"):
        file = tmp_path / "motion" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    listing = tmp_path / "extra_model_paths.yaml"
    listing.write_text(f"mine:\n  base_path: {tmp_path.as_posix()}\n  animatediff_models: motion\n", encoding="utf-8")
    with make_server("--extra-model-paths-config", str(listing)) as server:
        schema = server.get("/object_info/LoomLoadMotionModel")["LoomLoadMotionModel"]
    options = schema["input"]["required"]["motion_model"][1]["options"]
    assert [Path(option).as_posix() for option in options if option != MOTION_MODEL.name] == files


def test_older_host_is_told_in_one_sentence(tmp_path: Path):
    server = Server(Path(sys.executable), host_tree(TOO_OLD), tmp_path, ("--cpu", "--quick-test-for-ci"))
    with pytest.raises(ServerError, match="exit status 0"), server:
        pass
    sentence = f"AnimateDiff Loom needs ComfyUI 0.20.1 or newer, this is {TOO_OLD}: update ComfyUI."
    assert f"{PACK} module for custom nodes: {sentence}\n" in plain_log(server)


def plain_log(server: Server) -> str:
    return re.sub(r"\x1b\[\d*m", "", server.log.read_text(encoding="utf-8"))
