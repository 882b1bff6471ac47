"""Fixtures with a running host: this pack in it, and narrow synthetic models in place."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from host import loom_mini
from host.checkout import WEIGHTS
from host.data_folder import place_model
from host.releases import host_tree
from host.server import Server
from host.weights import ModelFiles, synthetic_weights


@dataclass(frozen=True)
class HostModels:
    """Names, as the host lists them, of models that a server has in place."""

    checkpoint: str
    motion_model: str


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-browser", action="store_true", help="no browser is a failure, not a reason to skip")


@pytest.fixture(scope="session")
def host_version(pytestconfig: pytest.Config) -> str:
    return pytestconfig.getoption("--host-version")


@pytest.fixture(scope="session")
def tree(host_version: str) -> Path:
    """The folder of the ComfyUI under test."""
    return host_tree(host_version)


@pytest.fixture(scope="session")
def sd15_files(tree: Path) -> ModelFiles:
    """A synthetic SD1.5 checkpoint with 320 channels at every level, and a v3 motion model for it."""
    return _weights("sd15_narrow", tree)


@pytest.fixture(scope="session")
def sdxl_files(tree: Path) -> ModelFiles:
    """A synthetic SDXL checkpoint with 320 channels at every level, and a motion model of the SDXL beta for it."""
    return _weights("sdxl_narrow", tree)


@pytest.fixture(scope="session")
def make_server(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Server]:
    """Servers with arguments and packs of their own, and no models yet but Loom Mini; to be used as contexts."""

    def make(*arguments: str, other_packs: Sequence[str] = ()) -> Server:
        folder = tmp_path_factory.mktemp("host")
        server = Server(Path(sys.executable), tree, folder, ("--cpu", *arguments), other_packs)
        loom_mini.install(server.folder)
        return server

    return make


@pytest.fixture(scope="session")
def host_server(make_server: Callable[..., Server]) -> Iterator[Server]:
    """A running server for all tests that need no special arguments."""
    with make_server() as server:
        yield server


@pytest.fixture(scope="session")
def sd15_models(sd15_files: ModelFiles, host_server: Server) -> HostModels:
    """The SD1.5 pair in `host_server`."""
    return place_models(sd15_files, host_server)


@pytest.fixture(scope="session")
def sdxl_models(sdxl_files: ModelFiles, host_server: Server) -> HostModels:
    """The SDXL pair in `host_server`."""
    return place_models(sdxl_files, host_server)


def _weights(kind: str, tree: Path) -> ModelFiles:
    """Made by one test process while the others wait."""
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    with FileLock(WEIGHTS / "making.lock"):
        return synthetic_weights(kind, Path(sys.executable), tree)


def place_models(files: ModelFiles, server: Server) -> HostModels:
    """Put a pair of model files where a server finds them, and return their names there."""
    return HostModels(
        checkpoint=place_model(files.checkpoint, server.folder, "checkpoints"),
        motion_model=place_model(files.motion_model, server.folder, "animatediff_models"),
    )
