"""Formats of files by their first bytes: what a file is when it is not what its name says."""

import struct
import zipfile
from pathlib import Path

from ..errors import FileFault
from .containers import ARCHIVE_START, SAFETENSORS_SUFFIXES

FIRST_BYTES = 512
LARGEST_SAFETENSORS_HEADER = 100_000_000  # as the format says
PACKED = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "RAR", b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz", b"BZh": "bzip2"}
OTHERS = {
    b"GGUF": "GGUF file",
    b"\x89PNG": "PNG picture",
    b"\xff\xd8\xff": "JPEG picture",
    b"GIF8": "GIF picture",
    b"\x89HDF": "HDF5 file",
    b"%PDF": "PDF document",
}


def refuse_other_formats(path: str) -> None:
    """Raise FileFault where the file at `path` is of a format that its name does not say, or no model file."""
    with Path(path).open("rb") as file:
        first = file.read(FIRST_BYTES)
        size = file.seek(0, 2)
    named_safetensors = path.lower().endswith(SAFETENSORS_SUFFIXES)
    if not first.strip(b"\0"):
        raise FileFault(f"is empty ({size} bytes, all of them 0): its download did not finish. Download it again.")
    _refuse_packed(path, first)
    _refuse_text(first)
    if _is_safetensors(first) and not named_safetensors:
        raise _make_name_fault(path, "a safetensors file", ".safetensors")
    if named_safetensors and _is_checkpoint(first):
        raise _make_name_fault(path, "a PyTorch checkpoint", ".ckpt")


def _refuse_packed(path: str, first: bytes) -> None:
    for start, kind in PACKED.items():
        if first.startswith(start):
            raise FileFault(f"is a {kind} archive. Unpack it, and choose the motion model inside.")
    for start, kind in OTHERS.items():
        if first.startswith(start):
            raise FileFault(f"is a {kind}, not a motion model. Choose a file in safetensors or PyTorch format.")
    if first.startswith(ARCHIVE_START) and zipfile.is_zipfile(path):
        _refuse_archive(path)


def _refuse_archive(path: str) -> None:
    """Raise FileFault for a zip archive that `torch.save` did not write."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    folders = {name.partition("/")[0] for name in names[:1]}
    if any(f"{folder}/constants.pkl" in names for folder in folders):
        raise FileFault("is a TorchScript program, which is never run. Save its weights as .safetensors.")
    if not any(f"{folder}/data.pkl" in names for folder in folders):
        raise FileFault(
            f"is a zip archive of {len(names)} files, such as '{next(iter(names), '')[:100]}'. "
            "Unpack it, and choose the motion model inside."
        )


def _refuse_text(first: bytes) -> None:
    text = first.decode("ascii", "replace").strip()
    if text[:15].lower().startswith(("<!doctype html", "<html", "<head", "<?xml")):
        raise FileFault("is a web page, not a model file. Download the file itself, not the page that shows it.")
    if text.startswith("version https://git-lfs"):
        raise FileFault("is a Git LFS pointer, not the file itself. Run git lfs pull, or download the file itself.")
    if text.isprintable() or text.replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        start = text.splitlines()[0][:60]
        raise FileFault(f"is a text file that begins with '{start}', not a model file. Download the file itself.")


def _is_safetensors(first: bytes) -> bool:
    length = struct.unpack("<Q", first[:8])[0] if len(first) > 8 else 0
    return 0 < length <= LARGEST_SAFETENSORS_HEADER and first[8:9] == b"{"


def _is_checkpoint(first: bytes) -> bool:
    """Return whether a file begins as `torch.save` writes it, now or before PyTorch 1.6."""
    return first.startswith((ARCHIVE_START, b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"))


def _make_name_fault(path: str, kind: str, suffix: str) -> FileFault:
    file = Path(path)
    return FileFault(f"is {kind}, but its name ends in {file.suffix}. Rename it to '{file.stem}{suffix}'.")
