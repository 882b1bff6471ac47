"""Files that were made to exhaust time or memory: refused with a sentence before the host reads them."""

import io
import json
import struct
import subprocess
import sys
import time
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch
from animatediff_loom.motion_modules.files.containers import check_container
from animatediff_loom.motion_modules.files.loading import load_motion_model

from tests.support.motion_files import V3
from tests.support.texts import expect_error

CPU_LIMIT = 3.0  # seconds, on a machine that is busy
HEAD = b"\x80\x02"
DICT = b"ccollections\nOrderedDict\n"
M61 = 2**61 - 1  # whole numbers that differ by multiples of it have the same hash
FUZZED_FILES, CPU_PER_FUZZED_FILE, GROWTH = 10_000, 1.0, 100  # seconds, MiB


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def storage(count: int, kind: str = "FloatStorage", key: str = "0") -> bytes:
    """A reference to `count` elements of weights, as `torch.save` writes it in an archive."""
    parts = text("storage"), f"ctorch\n{kind}\n".encode(), text(key), text("cpu"), number(count)
    return b"(" + b"".join(parts) + b"tQ"


def tensor(count: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    sizes = b"".join(b"(" + b"".join(map(number, each)) + b"t" for each in (shape, strides))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(count) + b"K\0" + sizes + b"\x89" + DICT + b")RtR"


def write_archive(
    path: Path, content: bytes, weights: bytes = bytes(16), compression: int = zipfile.ZIP_STORED
) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, part in (("data.pkl", content), ("byteorder", b"little"), ("data/0", weights), ("version", b"3\n")):
            archive.writestr(f"archive/{name}", part)


def expect_quick_refusal(path: Path, *parts: str) -> None:
    start = time.process_time()
    with expect_error(f"'{path.name}'", *parts):
        load_motion_model(str(path))
    assert time.process_time() - start < CPU_LIMIT


def nest(value: bytes, depth: int, twice: bytes) -> bytes:
    """A pickle in which every level holds the one before it twice; `twice` makes it from one on the stack."""
    return value + b"".join(b"r" + struct.pack("<I", level) + twice.replace(b"?", b"j" + struct.pack("<I", level))
                            for level in range(depth))  # fmt: skip


NESTED = {12: "no motion modules", 28: "more than 16 dictionaries", 300: "more than 200 deep"}


@pytest.mark.parametrize("new_format", (True, False))
@pytest.mark.parametrize("depth", NESTED)
def test_dictionaries_that_hold_each_other_twice_are_read_once(tmp_path, new_format, depth):
    nested: dict = {"state_dict": torch.zeros(1)}
    for _ in range(depth):
        nested = {"first": nested, "second": nested}
    path = tmp_path / "nested.ckpt"
    torch.save(nested, path, _use_new_zipfile_serialization=new_format)
    expect_quick_refusal(path, NESTED[depth])


def test_a_dictionary_in_two_places_counts_once(tmp_path):
    weights = V3.file()
    torch.save({"module": weights, "again": weights, "step": 3}, tmp_path / "twice.ckpt")
    assert load_motion_model(str(tmp_path / "twice.ckpt")).family.name == "AnimateDiff v3"


PICKLES = {
    "marks": (b"(" * 10_000_000, "nested more than"),
    "empty lists": (b"]" * 10_000_000, "steps"),
    "text that copies of a text make longer": (text("a" * 1_000_000) + b"q\0" + b"h\0" * 400_000, "holds a text"),
    "keys that take long to hash": (b"}" + nest(b")", 40, b"?\x86") + b"Ns", "steps"),
    "keys with equal hashes": (
        b"}(" + b"".join(b"\x8a\x14" + (i * M61).to_bytes(20, "little") + b"N" for i in range(1, 50_000)) + b"u",
        "keys",
    ),
    "a call of nothing callable": (nest(b"]", 40, b"?\x86") + b")R", "could not be read"),
    "an unknown reference": (nest(b")", 40, b"?\x86") + b"Q", "could not be read"),
    "a billion bytes": (b"cbuiltins\nbytearray\n\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85R", "bytes"),
    "bytes that become longer": (
        b"c_codecs\nencode\n" + text("aa") + text("latin1") + b"\x86R" + b"".join(
            b"q\0c_codecs\nencode\nh\0" + text("hex") + b"\x86R" for _ in range(40)
        ),
        "bytes in an unusual way",
    ),
    "copies of a large dictionary": (
        b"}(" + b"".join(text(f"{i}") + b"N" for i in range(30_000)) + b"uq\0" + (DICT + b"h\0\x85R") * 3000,
        "steps",
    ),
    "copies of a large text": (
        text("a" * 100_000) + b"q\0" + (b"c_codecs\nencode\nh\0" + text("latin1") + b"\x86R") * 3000,
        "steps",
    ),
    "a set of lists": (b"cbuiltins\nset\n](" + nest(b")", 40, b"?\x86") + b"e\x85R", "steps"),
    "quantised memory": (b"ctorch._utils\n_rebuild_qtensor\n)R", "special kind"),
    "a new tensor": (b"ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R", "special kind"),
    "more weights than there are": (b"}" + text("a") + tensor(1000, (1000,), (1,)) + b"s", "4000 bytes of weights"),
    "a tensor beyond its weights": (b"}" + text("a") + tensor(4, (1000,), (1,)) + b"s", "shape [1000]"),
    "a tensor that repeats its weights": (b"}" + text("a") + tensor(4, (2**30,), (0,)) + b"s", "its tensors take"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PICKLES)
@pytest.mark.parametrize("is_archive", (True, False))
def test_pickles_that_cost_more_than_their_size(tmp_path, kind, is_archive):
    content, fault = PICKLES[kind]
    path = tmp_path / "costly.ckpt"
    if is_archive:
        write_archive(path, HEAD + content + b".")
    else:
        write_legacy(path, HEAD + content.replace(b"tQK\0", b"NtQK\0") + b".")
    expect_quick_refusal(path, fault)


def write_legacy(path: Path, content: bytes) -> None:
    """Write a file as PyTorch did before 1.6, whose references to weights have one more part."""
    empty, file = HEAD + b"}q\0.", io.BytesIO()
    torch.save({}, file, _use_new_zipfile_serialization=False)
    path.write_bytes(file.getvalue().rpartition(empty)[0] + content + HEAD + b"].")


def test_an_archive_that_unpacks_to_a_thousand_times_its_size(tmp_path):
    path = tmp_path / "bomb.ckpt"
    write_archive(path, HEAD + b"}.", bytes(2**28), zipfile.ZIP_DEFLATED)
    expect_quick_refusal(path, f"unpacks to {2**28 + 12}")


def test_an_archive_with_a_pickle_that_unpacks_to_a_thousand_times_its_size(tmp_path):
    path = tmp_path / "bomb.ckpt"
    write_archive(path, HEAD + b"(" * 2**27, compression=zipfile.ZIP_DEFLATED)
    expect_quick_refusal(path, "unpacks to")


def test_an_archive_with_two_directories(tmp_path):
    """The host's reader follows the offset in the last record, Python's the place before it."""
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    write_archive(first, HEAD + b"}.")
    write_archive(second, HEAD + b"].")
    second.write_bytes(first.read_bytes() + second.read_bytes())
    expect_quick_refusal(second, "could not be read", "directory")


def test_an_archive_that_was_packed_again_still_loads(tmp_path):
    whole, path = tmp_path / "whole.ckpt", tmp_path / "packed.ckpt"
    torch.save(V3.file(), whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert load_motion_model(str(path)).family.name == "AnimateDiff v3"


HEADERS = {
    "a shape without data": ('{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,0]}}', "0 bytes"),
    "data that is used twice": (
        '{"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]},"b":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}}',
        "32 bytes",
    ),
    "a long number": ('{"a":{"dtype":"F32","shape":[' + 5_000_000 * "9" + '],"data_offsets":[0,16]}}', "too long"),
    "many lists": ('{"__metadata__":{"a":[' + 5_000_000 * "[]," + "0]}}", "too many entries"),
    "lists in lists": ('{"a":' + 100_000 * "[" + 100_000 * "]" + "}", "could not be read"),
    "only spaces": (20_000_000 * " ", "header has 20000000 bytes"),
    "no dictionary": ("[1, 2]", "could not be read"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_safetensors_headers_that_claim_more_than_there_is(tmp_path, kind):
    header, fault = HEADERS[kind]
    path = tmp_path / "claims.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(16))
    with expect_error(path.name):
        load_motion_model(str(path))
    start = time.process_time()
    with pytest.raises(Exception, match=None if fault == "could not be read" else fault):
        check_container(str(path))
    assert time.process_time() - start < CPU_LIMIT


def test_what_trainers_save_beside_tensors_is_read(tmp_path):
    """A learning-rate schedule, an optimiser, tensors with attributes and shared memory, numbers of numpy."""
    weights = V3.file()
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2, 3))])
    optimiser.param_groups[0]["params"][0].grad = torch.ones(2, 3)
    optimiser.step()
    marked = torch.nn.Parameter(torch.zeros(3))
    marked.note = "of a trainer"
    extra = {
        "optimizer": optimiser.state_dict(),
        "milestones": Counter({30: 1, 80: 1}),
        "seen": {1, 2, "three"},
        "raw": (b"bytes", bytearray(b"more"), 2**200, -1.5, None, True, 3 + 4j, torch.Size([1, 2]), torch.float16),
        "views": [torch.arange(12.0).view(3, 4).t(), torch.zeros(1).expand(1000), torch.zeros(0, 5), marked],
        "device": torch.device("cpu"),
        "types": [torch.zeros(2, dtype=kind) for kind in (torch.int64, torch.bool, torch.complex64, torch.bfloat16)],
        "state": OrderedDict(a=OrderedDict()),
    }
    extra["state"]._metadata = {"version": 1}
    for is_archive in (True, False):
        path = tmp_path / f"trainer_{is_archive}.ckpt"
        torch.save({"state_dict": weights, **extra}, path, _use_new_zipfile_serialization=is_archive)
        assert set(check_container(str(path))) == {"state_dict", *extra}
        assert load_motion_model(str(path)).family.name == "AnimateDiff v3"


def test_safetensors_of_every_dtype_are_read(tmp_path):
    kinds = ("float64", "float8_e4m3fn", "float8_e5m2", "int8", "uint8", "int16", "bool", "complex64", "uint64")
    path = tmp_path / "kinds.safetensors"
    safetensors.torch.save_file({kind: torch.zeros(3, dtype=getattr(torch, kind)) for kind in kinds}, path)
    check_container(str(path))


def test_mutated_files_load_or_are_refused(tmp_path, pytestconfig):
    """No hang, no other error than the pack's own, no large memory, for every seed."""
    script = Path(__file__).parents[2] / "support" / "fuzz_files.py"
    tree = pytestconfig.rootpath / ".comfyui" / pytestconfig.getoption("--host-version")
    command = [sys.executable, "-W", "ignore", script, tree, tmp_path, str(FUZZED_FILES), "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result["outcomes"]) == {"loaded", "refused"}, result
    assert min(result["outcomes"].values()) > FUZZED_FILES // 20
    assert result["slowest"][0] < CPU_PER_FUZZED_FILE, result
    assert result["grown"] < GROWTH, result
