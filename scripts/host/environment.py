"""The Python environment of the checkout: the host's requirements, and what the tests need."""

import hashlib
import re
import shutil
import sys
import time
from pathlib import Path

from .checkout import ROOT, VENV, python_in
from .processes import run
from .releases import NEWEST, host_tree

TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
TEST_REQUIREMENTS = ROOT / "tests" / "requirements.txt"
QUIETLY = ["--disable-pip-version-check", "-qq", "--progress-bar", "off"]  # a log alone turns the bar on again
PIP_IS_WHOLE = [f"{place}/site-packages/pip-*.dist-info/RECORD" for place in ("lib/*", "Lib")]
VENV_PACKAGE = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
DEBIAN = f"Debian and Ubuntu keep what it takes in a package: apt install {VENV_PACKAGE}"


def make_environment(venv: Path = VENV) -> Path:
    """The interpreter of an environment in which every pinned host runs; made when it is not there yet."""
    python = make_venv(venv)
    tree = host_tree(NEWEST, python=python)
    install(venv, [*TORCH, *host_requirements(tree)], "Installing what ComfyUI needs")
    return python


def make_test_environment(venv: Path = VENV) -> Path:
    """The same environment with the tools of the tests in it."""
    python = make_environment(venv)
    install(venv, read_requirements(TEST_REQUIREMENTS), "Installing what the tests need")
    return python


def make_venv(venv: Path) -> Path:
    """The interpreter of a virtual environment with pip; one without pip was broken off, or made in another way."""
    python, new = python_in(venv), not venv.exists()
    if not (python.exists() and _has_pip(venv)):
        print(f"Making {venv} ...", flush=True)
        try:
            run([sys.executable, "-m", "venv", venv], f"Making a virtual environment ({DEBIAN})")
        except BaseException:
            if new:
                shutil.rmtree(venv, ignore_errors=True)
            raise
    return python


def host_requirements(tree: Path) -> list[str]:
    """Return the requirements of a host without torch, which is pinned to three packages that fit together."""
    trio = {_project(pin) for pin in TORCH}
    return [line for line in read_requirements(tree / "requirements.txt") if _project(line) not in trio]


def read_requirements(file: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def install(venv: Path, requirements: list[str], purpose: str) -> None:
    """Install a set of requirements with pip, remembered in the environment so that it happens once.

    Print one line, which ends with the size and the time. pip prints warnings and errors; `pip.log` in the
    environment keeps what it did.
    """
    listing = "\n".join(requirements) + "\n"
    marker = venv / f"loom-{hashlib.sha256(listing.encode()).hexdigest()[:16]}.txt"
    if marker.exists():
        return
    log, before, start = venv / "pip.log", _size(venv), time.monotonic()
    print(f"{purpose} (once, takes minutes; log: {log}) ...", end=" ", flush=True)
    run([python_in(venv), "-m", "pip", "install", *QUIETLY, "--log", log, *requirements], purpose)
    size = (_size(venv) - before) / 1e9
    print(f"{size:.1f} GB in {time.monotonic() - start:.0f} s", flush=True)
    marker.write_text(listing, encoding="utf-8")


def _size(folder: Path) -> int:
    """Return the bytes of all files in `folder`."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def _has_pip(venv: Path) -> bool:
    """The list of pip's files is the last that its installation writes."""
    return any(file for pattern in PIP_IS_WHOLE for file in venv.glob(pattern))


def _project(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()
