"""A motion module that another custom-node pack brings, in the real host, whichever of the two is loaded first.

The host loads the folders of custom nodes one after another, and one that the user calls the
default comes first.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from animatediff_loom.motion_modules.files.header import build_header
from animatediff_loom.motion_modules.files.saving import save_motion_tensors
from host.server import PromptError, Server
from loom_mini.architecture import UNET

from tests.support.host import tiny_model
from tests.support.motion_models import OTHER_PACKS, import_pack, untrained_motion
from tests.support.workflows import mini_prompt

PACK, FILE = "wobble_pack", "wobbling.safetensors"
ORDERS = {"before": True, "after": False}


@pytest.fixture(scope="module")
def wobbling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A motion model for Loom Mini of the other pack's modules, as this pack saves it."""
    file = tmp_path_factory.mktemp("file") / FILE
    with pytest.MonkeyPatch.context() as monkeypatch:
        import_pack(PACK, monkeypatch)
        motion_model = untrained_motion(tiny_model(**UNET), "wobble")
        gains = {name: torch.full_like(gain, 0.2) for name, gain in motion_model.patcher.model.state_dict().items()}
        assert PACK in build_header(motion_model.family, motion_model.specs)["loom_motion_model"]
        save_motion_tensors(gains, motion_model.family, motion_model.specs, file)
    return file


def running(make_server: Callable[..., Server], file: Path, *arguments: str, other_packs=()) -> Iterator[Server]:
    server = make_server(*arguments, other_packs=other_packs)
    (server.folder / "models" / "animatediff_models" / FILE).write_bytes(file.read_bytes())
    with server:
        yield server


@pytest.fixture(scope="module", params=ORDERS)
def with_both(request, make_server: Callable[..., Server], wobbling: Path, tmp_path_factory) -> Iterator[Server]:
    """A host with both packs, which was told by its list of folders to load the other one first or last."""
    listing = tmp_path_factory.mktemp("listing") / "extra_model_paths.yaml"
    lines = [
        "theirs:",
        f"  custom_nodes: {OTHER_PACKS.as_posix()}",
        f"  is_default: {str(ORDERS[request.param]).lower()}",
    ]
    listing.write_text("\n".join(lines) + "\n", encoding="utf-8")
    arguments = ("--extra-model-paths-config", str(listing))
    for server in running(make_server, wobbling, *arguments, other_packs=(PACK,)):
        said = f"wobble_pack is imported {request.param} AnimateDiff Loom"
        assert any(line.endswith(said) for line in server.log_lines())
        yield server


def info() -> dict:
    loader = {"class_type": "LoomLoadMotionModel", "inputs": {"motion_model": FILE}}
    return {"1": loader, "2": {"class_type": "LoomMotionModelInfo", "inputs": {"motion_model": ["1", 0]}}}


def test_its_files_are_known(with_both: Server):
    (text,) = with_both.run(info())["outputs"]["2"]["text"]
    assert "architecture: wobble" in text
    assert "recognised by: its header" in text


def test_it_moves_a_clip(with_both: Server):
    prompts = [mini_prompt("a red circle", steps=1, motion_model=FILE, strength=strength) for strength in (0.0, 1.0)]
    still, clip = ([file.read_bytes() for file in with_both.files(with_both.run(prompt))] for prompt in prompts)
    assert len(still) == len(clip) == 16
    assert still != clip


def test_without_the_pack_its_files_are_refused_by_name(make_server: Callable[..., Server], wobbling: Path):
    for server in running(make_server, wobbling):
        with pytest.raises(PromptError, match="'wobble', but the pack 'wobble_pack' that provides it is not installed"):
            server.run(info())
