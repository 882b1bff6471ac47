"""The folder that a host works in: models, input, output, and this checkout as its only custom node."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from .checkout import PACK, ROOT


def make_data_folder(folder: Path) -> Path:
    """Make or complete a folder for the host's `--base-directory`."""
    for name in ("custom_nodes", "input", "models", "output", "temp", "user"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    link_folder(ROOT, folder / "custom_nodes" / PACK)
    return folder


def link_folder(target: Path, link: Path) -> None:
    """Let `link` stand for the folder `target`; where Windows allows no symbolic link, a junction does the same."""
    if link.exists() and link.samefile(target):
        return
    remove_link(link)
    if os.name == "nt":
        import _winapi

        _winapi.CreateJunction(str(target), str(link))
    else:
        link.symlink_to(target, target_is_directory=True)


def place_model(file: Path, folder: Path, kind: str) -> str:
    """Put a model file where the host looks for models of its kind, and return the name it has there."""
    place = folder / "models" / kind / file.name
    place.parent.mkdir(parents=True, exist_ok=True)
    if not (place.exists() and place.samefile(file)):
        place.unlink(missing_ok=True)
        _link_or_copy(file.resolve(), place)
    return file.name


def _link_or_copy(file: Path, place: Path) -> None:
    for way in (os.symlink, os.link):
        with suppress(OSError):
            way(file, place)
            return
    shutil.copyfile(file, place)


def remove_link(link: Path) -> None:
    if link.is_symlink():
        link.unlink()
    elif os.path.lexists(link):
        link.rmdir()
