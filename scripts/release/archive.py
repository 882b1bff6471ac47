"""Build the archive of the registry by the rules of comfy-cli: tracked files, except those in .comfyignore."""

import subprocess
import zipfile
from pathlib import Path

from host.checkout import ROOT
from host.errors import SetupError


def list_shipped(root: Path = ROOT) -> list[str]:
    """Return the paths of the archive's files, relative to `root`.

    comfy-cli reads the patterns of .comfyignore as git reads those of .gitignore, so git itself
    finds the files that match. Raise SetupError if `root` is not the top of a git checkout.
    """
    tracked = list_tracked(root)
    if not tracked:
        raise SetupError(f"{root} has no files that git tracks. Clone the repository to build its archive.")
    left_out = set(list_tracked(root, "--ignored", "--exclude-from=.comfyignore"))
    return [name for name in tracked if name not in left_out and (root / name).is_file()]


def list_tracked(root: Path, *options: str) -> list[str]:
    return [name for name in ask_git(root, "ls-files", "-z", "--cached", *options).split("\0") if name]


def list_changes(root: Path = ROOT) -> list[str]:
    """Return the files that differ from the last commit, among those that git does not ignore."""
    return [line[3:] for line in ask_git(root, "status", "--porcelain").splitlines()]


def ask_git(root: Path, *arguments: str) -> str:
    """Return what git prints; an empty text if there is no git, or no checkout of it."""
    try:
        answer = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.decode("utf-8")


def build_archive(file: Path, root: Path = ROOT) -> list[str]:
    """Write the archive of the files in `root` as they are now, and return their paths in it."""
    names = list_shipped(root)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.write(root / name, name)
    return names
