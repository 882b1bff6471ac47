"""Tests run on the CPU in a real ComfyUI tree; the pack is loaded from this checkout as `animatediff_loom`."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
PACK = "animatediff_loom"
DEFAULT_HOST = "0.30.0"

sys.path += [str(ROOT / "scripts"), str(ROOT / "demo")]
sys.modules["tests"] = ModuleType("tests")  # the host has a folder of this name, and is first on the path
sys.modules["tests"].__path__ = [str(ROOT / "tests")]
pytest.register_assert_rewrite("tests.support")
pytest_plugins = ["tests.support.server", "tests.support.scheduling"]

settings.register_profile("loom", deadline=None, max_examples=40)
settings.load_profile("loom")


def pytest_addoption(parser):
    parser.addoption(
        "--host-version",
        default=os.environ.get("LOOM_HOST", DEFAULT_HOST),
        help="the ComfyUI release under .comfyui/ to test in",
    )


def pytest_configure(config):
    tree = ROOT / ".comfyui" / config.getoption("--host-version")
    sys.path.insert(0, str(tree))
    _use_cpu()
    from tests.support.host import take_snapshot

    config.stash[HOST_BEFORE] = take_snapshot()
    _load_pack()


HOST_BEFORE = pytest.StashKey[dict]()


@pytest.fixture(scope="session")
def host_before(pytestconfig) -> dict:
    """The functions and class attributes of the host before the pack was imported."""
    return pytestconfig.stash[HOST_BEFORE]


def _use_cpu() -> None:
    import torch
    from comfy.cli_args import args

    args.cpu = True
    torch.set_num_threads(1)  # tiny tensors: a second thread only waits, and for long on a busy machine
    os.environ["OMP_NUM_THREADS"] = "1"  # the same for the servers that tests start
    torch.set_flush_denormal(True)  # the softmax of random weights is full of them, and they are slow


def _load_pack() -> None:
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    sys.modules[PACK] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[PACK])
