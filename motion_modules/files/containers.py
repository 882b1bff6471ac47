"""Checks of a file before the host reads it: time and memory stay in proportion to its size.

The host's readers believe what a file says about itself. A zip archive can unpack to a thousand
times its size, a safetensors header can claim tensors without data, and a pickle can do worse
(pickle_survey.py).
"""

import json
import math
import mmap
import struct
import tarfile
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import FileFault
from .pickle_calls import name_content
from .pickle_instructions import INSTRUCTIONS
from .pickle_survey import Entries, PickleSurvey, make_limit_fault

LARGEST_HEADER = 2**24  # bytes of a safetensors header: 1,300 tensors need 2**18
LARGEST_COUNT = 100_000  # tensors in a file
LARGEST_BRACKETS = 4 * LARGEST_COUNT
UNPACKED_SHARE = 4  # bytes that an archive may unpack to for one of its own
SMALLEST_LIMIT = 2**20  # bytes that any archive may unpack to
LEGACY_PICKLES = 5  # magic number, version, facts about the system, content, keys of storages
ARCHIVE_START = b"PK\3\4"
SAFETENSORS_SUFFIXES = (".safetensors", ".sft")  # as the host tells them

_end_record = struct.Struct("<4s4H2LH")
_wide_locator, _wide_record = struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
_element_sizes = {"BOOL": 1, "U8": 1, "I8": 1, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "C64": 8}
_element_sizes |= {f"{kind}{bits}": bits // 8 for kind in "FIU" for bits in (16, 32, 64)}


def check_container(path: str) -> Mapping[str, Any]:
    """Check that the host can read the file at `path` safely, and return stand-ins of what it holds, by key.

    They are empty for safetensors. Raises FileFault at a limit, and any error at damage.
    """
    with Path(path).open("rb") as file:
        size, start = file.seek(0, 2), file.seek(0)
        if path.lower().endswith(SAFETENSORS_SUFFIXES):
            _check_safetensors(file, size)
            return {}
        is_archive = file.read(len(ARCHIVE_START)) == ARCHIVE_START
        file.seek(start)
        content = _survey_archive(file, size) if is_archive else _survey_legacy(file)
    return _require_dictionary(content)


def _require_dictionary(content: Any) -> Mapping[str, Any]:
    """Return the entries of the stand-in `content`. Raise FileFault where no dictionary can be in the file."""
    parts = content.by_key if isinstance(content, Entries) else {}
    weights = parts.get("state_dict", content)  # what the host returns
    kind = name_content(weights)
    if kind is not None:
        place = "" if weights is content else " under 'state_dict'"
        raise FileFault(f"holds {kind}{place} instead of named tensors. Choose another file.")
    return parts


def _check_safetensors(file: BinaryIO, size: int) -> None:
    """Compare every tensor of the header with its data; the host's second reader for NVIDIA cards does not."""
    (length,) = struct.unpack("<Q", file.read(8))
    if length > size - 8:
        raise ValueError("its header is longer than the file")
    if length > LARGEST_HEADER:
        raise make_limit_fault(f"its header has {length} bytes, more than {LARGEST_HEADER}")
    text = file.read(length)
    if text.count(b"{") + text.count(b"[") > LARGEST_BRACKETS:
        raise make_limit_fault("its header has too many entries")
    header = json.loads(text, parse_int=_parse_int)
    header.pop("__metadata__", None)
    total = sum(_measure_tensor(name, entry) for name, entry in header.items())
    if total > size - 8 - length:
        raise ValueError(f"its tensors take {total} bytes, but it has {size - 8 - length} for them")


def _parse_int(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError("a number in its header is too long")
    return int(digits)


def _measure_tensor(name: str, entry: Mapping[str, Any]) -> int:
    start, end = entry["data_offsets"]
    itemsize = _element_sizes.get(entry["dtype"])
    if itemsize is not None and math.prod(entry["shape"]) * itemsize != end - start:
        raise ValueError(f"tensor '{name[:100]}' of shape {entry['shape'][:8]} has {end - start} bytes")
    return end - start


def _survey_archive(file: BinaryIO, size: int) -> Any:
    """Return the stand-in of what a zip archive of `torch.save` holds."""
    with zipfile.ZipFile(file) as archive:
        _require_one_directory(file, size, archive.start_dir)
        entries = archive.infolist()
        _check_entries(entries, size)
        folder = entries[0].filename.partition("/")[0]
        survey = PickleSurvey(size, INSTRUCTIONS)
        content, _ = survey.read(archive.read(f"{folder}/data.pkl"))
        records = {entry.filename: entry.file_size for entry in entries}
    for key, claimed in survey.storages.items():
        if claimed > records[f"{folder}/data/{key}"]:
            raise ValueError(f"it claims {claimed} bytes of weights, but has {records[f'{folder}/data/{key}']}")
    return content


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > max(SMALLEST_LIMIT, UNPACKED_SHARE * size):
        raise make_limit_fault(f"it unpacks to {unpacked} bytes from {size}")
    (name, count), *_ = Counter(entry.filename.lower() for entry in entries).most_common(1)
    if count > 1:
        raise ValueError(f"it has two parts named '{name[:100]}'")


def _require_one_directory(file: BinaryIO, size: int, start: int) -> None:
    """Raise ValueError where the host's reader of zip archives may find another directory than Python's at `start`."""
    position = size - _end_record.size
    file.seek(position)
    signature, *_, offset, comment = _end_record.unpack(file.read(_end_record.size))
    wide = position - _wide_locator.size - _wide_record.size
    if signature == b"PK\5\6" and not comment and wide >= 0:
        file.seek(wide)
        record = _wide_record.unpack(file.read(_wide_record.size))
        locator = _wide_locator.unpack(file.read(_wide_locator.size))
        if locator[0] == b"PK\6\7":
            offset = record[-1] if locator[2] == wide and record[0] == b"PK\6\6" else -1
    if signature != b"PK\5\6" or comment or offset != start:
        raise ValueError("its directory is not at its end")


def _survey_legacy(file: BinaryIO) -> Any:
    """Return the stand-in of what a file of PyTorch before 1.6 holds: pickles in a row, then storages."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if _is_tar(data[: tarfile.BLOCKSIZE]):
            raise FileFault("is a tar archive. Unpack it, and choose the motion model inside.")
        survey, position, contents = PickleSurvey(len(data), INSTRUCTIONS), 0, []
        for _ in range(LEGACY_PICKLES):
            content, position = survey.read(data, position)
            contents.append(content)
        claimed = sum(survey.storages.values())
        if claimed > len(data) - position:
            raise ValueError(f"it claims {claimed} bytes of weights, but has {len(data) - position}")
        return contents[3]


def _is_tar(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
