"""Files that are damaged, cut short or dangerous: one sentence each, and nothing in them is run or allocated."""

import json
import os
import pickle
import struct
import tarfile
import zipfile

import pytest
import safetensors.torch
import torch
from animatediff_loom.motion_modules.files.loading import load_motion_model
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.motion_files import V3, as_training_checkpoint
from tests.support.texts import expect_error

SITE = "down_blocks.0.motion_modules.0.temporal_transformer."


@pytest.fixture
def good_file(tmp_path):
    """A motion model file, which must still load after whatever the test has tried to load."""
    path = tmp_path / "good.safetensors"
    safetensors.torch.save_file(V3.file(), path)
    yield path
    assert load_motion_model(str(path)).family.name == "AnimateDiff v3"


def assert_damaged(path, content: bytes) -> None:
    path.write_bytes(content)
    with expect_error(f"'{path.name}'", "could not be read", "Download it again"):
        load_motion_model(str(path))


@pytest.mark.parametrize("suffix", (".safetensors", ".ckpt", ".pt", ".pth"))
@pytest.mark.parametrize("content", (b"\1", b"\1\2\3", bytes(range(256)) * 64, b"\x80\x02}q\0."))
def test_garbage(good_file, suffix, content):
    assert_damaged(good_file.with_name(f"garbage{suffix}"), content)


@pytest.mark.parametrize("suffix", (".safetensors", ".ckpt", ".pt", ".pth"))
@pytest.mark.parametrize(
    ("content", "parts"),
    (
        (b"", ("is empty (0 bytes", "Download it again")),
        (bytes(5000), ("is empty (5000 bytes", "Download it again")),
        (b"<!DOCTYPE html><html>Not found</html>", ("is a web page", "Download the file itself")),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", ("is a Git LFS pointer", "Run git lfs pull")),
        (b"Entry not found", ("text file that begins with 'Entry not found'", "Download the file itself")),
        (b'{"error":\n"Access denied"}\n', ("""text file that begins with '{"error":'""", "Download the file itself")),
        (b"7z\xbc\xaf\x27\x1c\0\4", ("is a 7z archive", "Unpack it")),
        (b"\x1f\x8b\x08\x00", ("is a gzip archive", "Unpack it")),
        (b"GGUF\3\0\0\0", ("is a GGUF file", "safetensors or PyTorch")),
        (b"\x89PNG\r\n\x1a\n", ("is a PNG picture", "safetensors or PyTorch")),
    ),
)
def test_files_of_other_formats_are_called_by_their_name(good_file, suffix, content, parts):
    path = good_file.with_name(f"other{suffix}")
    path.write_bytes(content)
    with expect_error(f"'other{suffix}'", *parts):
        load_motion_model(str(path))


@pytest.mark.parametrize("new_format", (True, False))
@pytest.mark.parametrize(
    ("content", "kind"),
    (
        (torch.zeros(3), "a single tensor"),
        (torch.nn.Parameter(torch.zeros(3)), "a single tensor"),
        (3, "a number"),
        (0.5, "a number"),
        ("weights", "a text"),
        ([torch.zeros(3)], "a list"),
        ((torch.zeros(3),), "a tuple"),
        ({1, 2}, "one set"),
        (None, "no weights"),
        ({"state_dict": torch.zeros(3)}, "a single tensor under 'state_dict'"),
        ({"state_dict": [1]}, "a list under 'state_dict'"),
    ),
    ids=str,
)
def test_a_whole_file_without_a_dictionary_is_called_by_its_content(tmp_path, content, kind, new_format):
    path = tmp_path / "other.ckpt"
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    with expect_error("'other.ckpt'", f"holds {kind} instead of named tensors", "Choose another file"):
        load_motion_model(str(path))


@pytest.mark.parametrize("suffix", (".safetensors", ".ckpt"))
def test_an_empty_dictionary_is_called_empty(tmp_path, suffix):
    path = tmp_path / f"other{suffix}"
    safetensors.torch.save_file({}, path) if suffix == ".safetensors" else torch.save({}, path)
    with expect_error(f"'other{suffix}'", "holds no weights (it is empty)"):
        load_motion_model(str(path))


@given(st.binary(max_size=200), st.sampled_from((".safetensors", ".ckpt")))
@settings(max_examples=100)
def test_any_garbage(tmp_path_factory, content, suffix):
    path = tmp_path_factory.getbasetemp() / f"garbage{suffix}"
    path.write_bytes(content)
    with expect_error(f"'garbage{suffix}'"):
        load_motion_model(str(path))


@pytest.mark.parametrize("kept", (0.01, 0.5, 0.999))
def test_truncated_safetensors(good_file, kept):
    whole = good_file.read_bytes()
    assert_damaged(good_file.with_name("cut.safetensors"), whole[: int(len(whole) * kept)])


@pytest.mark.parametrize("kept", (0.01, 0.5, 0.999))
@pytest.mark.parametrize("new_format", (True, False))
def test_truncated_pickle(good_file, kept, new_format):
    path = good_file.with_name("cut.ckpt")
    torch.save(as_training_checkpoint(V3.file()), path, _use_new_zipfile_serialization=new_format)
    whole = path.read_bytes()
    assert_damaged(path, whole[: int(len(whole) * kept)])


@pytest.mark.parametrize("content", (3, "text", None, [], [1], [1, 2], torch.zeros(3), {"a": 1}, {1: 2, 3: 4}))
def test_pickles_of_other_things(good_file, content):
    path = good_file.with_name("thing.ckpt")
    torch.save(content, path)
    with expect_error("'thing.ckpt'"):
        load_motion_model(str(path))


def test_a_missing_file(good_file):
    with expect_error("'gone.safetensors'", "could not be opened", "No such file", "Check that the file exists"):
        load_motion_model(str(good_file.with_name("gone.safetensors")))


def test_a_dictionary_that_holds_itself(good_file):
    path, endless = good_file.with_name("endless.ckpt"), {}
    endless["state_dict"] = endless
    torch.save(endless, path)
    with expect_error("'endless.ckpt'", "holds no weights"):
        load_motion_model(str(path))


class RunsCode:
    """An object whose unpickling makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("suffix", (".ckpt", ".pt", ".pth"))
@pytest.mark.parametrize("new_format", (True, False))
def test_code_in_a_pickle_never_runs(good_file, suffix, new_format):
    trace, path = good_file.with_name("trace"), good_file.with_name(f"code{suffix}")
    checkpoint = {"state_dict": V3.file(), "extra": RunsCode(trace)}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=new_format)
    with expect_error(f"'{path.name}'", "contains Python code", "Download a .safetensors version"):
        load_motion_model(str(path))
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_bare_pickle_never_runs(good_file):
    trace, path = good_file.with_name("trace"), good_file.with_name("bare.ckpt")
    path.write_bytes(pickle.dumps(RunsCode(trace)))
    with expect_error("'bare.ckpt'"):
        load_motion_model(str(path))
    assert not trace.exists()


@pytest.mark.parametrize("new_format", (True, False))
def test_code_behind_a_harmless_name_never_runs(good_file, new_format):
    trace, path = good_file.with_name("trace"), good_file.with_name("sheep.safetensors")
    torch.save({"state_dict": RunsCode(trace)}, path, _use_new_zipfile_serialization=new_format)
    with expect_error("'sheep.safetensors'", "is a PyTorch checkpoint", "Rename it to 'sheep.ckpt'"):
        load_motion_model(str(path))
    with expect_error("'sheep.ckpt'", "contains Python code"):
        load_motion_model(str(path.rename(path.with_suffix(".ckpt"))))
    assert not trace.exists()


def test_a_safetensors_file_with_another_suffix(good_file):
    path = good_file.with_name("wolf.fp16.ckpt")
    path.write_bytes(good_file.read_bytes())
    with expect_error("'wolf.fp16.ckpt'", "is a safetensors file", "Rename it to 'wolf.fp16.safetensors'"):
        load_motion_model(str(path))


@pytest.mark.parametrize("shape", ([2**40, 2**40], [2**62, 4], [-1, 32]))
def test_header_that_claims_an_absurd_shape(good_file, shape):
    """The header says far more than the few bytes after it."""
    header = {f"{SITE}proj_in.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4096]}}
    text = json.dumps(header).encode()
    assert_damaged(good_file.with_name("huge.safetensors"), struct.pack("<Q", len(text)) + text + bytes(4096))


def test_header_longer_than_the_file(good_file):
    assert_damaged(good_file.with_name("huge.safetensors"), struct.pack("<Q", 2**60) + b"{}")


@pytest.mark.parametrize("suffix", (".safetensors", ".ckpt"))
def test_archives_that_are_no_checkpoint(good_file, suffix):
    path = good_file.with_name(f"archive{suffix}")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing here")
        archive.writestr("model/v3.ckpt", b"weights")
    with expect_error(path.name, "is a zip archive of 2 files, such as 'readme.txt'", "Unpack it"):
        load_motion_model(str(path))


def test_a_tar_archive(good_file):
    path = good_file.with_name("archive.ckpt")
    with tarfile.open(path, "w") as archive:
        archive.add(good_file, "pickle")
    with expect_error("'archive.ckpt'", "is a tar archive", "Unpack it"):
        load_motion_model(str(path))


def test_a_program_in_torchscript(good_file):
    path = good_file.with_name("program.pt")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl", "version"):
            archive.writestr(f"program/{name}", b"3")
    with expect_error("'program.pt'", "is a TorchScript program", "Save its weights"):
        load_motion_model(str(path))


@pytest.mark.parametrize("new_format", [True, False])
def test_a_checkpoint_of_a_later_pickle_protocol_is_not_called_damaged(good_file, new_format):
    path = good_file.with_suffix(".ckpt")
    torch.save(V3.file(), path, pickle_protocol=4, _use_new_zipfile_serialization=new_format)
    with expect_error("'good.ckpt' is a pickle of protocol 4", "Save it again as .safetensors"):
        load_motion_model(str(path))
