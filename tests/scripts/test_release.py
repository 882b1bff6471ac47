"""The archive has the files that comfy-cli would pack, and a release with placeholders is refused."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from host.checkout import ROOT
from host.errors import SetupError
from release.archive import build_archive, list_changes, list_shipped
from release.decisions import OWNER_DECIDES, find_faults

from tests.support.checkout import in_a_checkout

FILES = ["__init__.py", "docs/guide.md", "web/docs/Node/en.md", "demo/big.bin", "demo/README.md"]
ADDRESS = "https://git.weavers.internal/animatediff-loom"
TEXTS = {
    "pyproject.toml": f"""version = "1.2.3"
Repository = "{ADDRESS}"
PublisherId = "weavers"
Icon = "{ADDRESS}/docs/icon.svg"
""",
    "README.md": f"git clone {ADDRESS} animatediff_loom\n",
    "README.zh.md": f"git clone {ADDRESS} animatediff_loom\n",
    "CHANGELOG.md": "# Changelog\n\n## [1.2.3]\n",
}


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def write(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the FILES and an empty .comfyignore, all tracked."""
    git(tmp_path, "init", "-q")
    for name in [*FILES, ".comfyignore"]:
        write(tmp_path, name, "")
    git(tmp_path, "add", "-A")
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "left_out"),
    [
        ("", []),
        ("/docs/", ["docs/guide.md"]),
        ("docs/", ["docs/guide.md", "web/docs/Node/en.md"]),
        ("/demo/*\n!/demo/README.md", ["demo/big.bin"]),
        ("# docs/\n*.md", ["docs/guide.md", "web/docs/Node/en.md", "demo/README.md"]),
    ],
)
def test_patterns_leave_out_what_they_leave_out_for_comfy_cli(patterns: str, left_out: list[str], checkout: Path):
    write(checkout, ".comfyignore", f"{patterns}\n")
    assert set(list_shipped(checkout)) == {*FILES, ".comfyignore"} - set(left_out)


def test_only_tracked_files_are_packed_as_they_are_now(checkout: Path):
    write(checkout, "notes.txt", "not tracked")
    write(checkout, "docs/guide.md", "changed")
    (checkout / "demo" / "big.bin").unlink()
    names = build_archive(checkout / "node.zip", checkout)
    with zipfile.ZipFile(checkout / "node.zip") as archive:
        assert archive.namelist() == names
        assert archive.read("docs/guide.md") == b"changed"
    assert set(names) == {*FILES, ".comfyignore"} - {"demo/big.bin"}


def test_no_archive_without_a_checkout(tmp_path: Path):
    with pytest.raises(SetupError, match="Clone the repository"):
        list_shipped(tmp_path / "nowhere")


def test_changes_are_listed(checkout: Path):
    git(checkout, "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-q", "-m", "all")
    assert list_changes(checkout) == []
    write(checkout, "docs/guide.md", "changed")
    write(checkout, "notes.txt", "new")
    assert list_changes(checkout) == ["docs/guide.md", "notes.txt"]


@pytest.fixture
def decided(tmp_path: Path) -> Path:
    """A folder in which everything is decided."""
    for name, text in TEXTS.items():
        write(tmp_path, name, text)
    return tmp_path


def test_a_release_with_everything_decided_has_no_faults(decided: Path):
    assert list(find_faults(decided)) == []


@pytest.mark.parametrize("value", ["", "to-be-decided", "https://to-be-decided.invalid/animatediff-loom", "owner"])
@pytest.mark.parametrize("name", OWNER_DECIDES)
def test_placeholders_are_refused(name: str, value: str, decided: Path):
    project = re.sub(rf'^{name} = ".*"$', f'{name} = "{value}"', TEXTS["pyproject.toml"], flags=re.M)
    write(decided, "pyproject.toml", project)
    assert [fault for fault in find_faults(decided) if fault.startswith(f"pyproject.toml: `{name}` is '{value}'")]


@pytest.mark.parametrize(
    "address", ["http://git.weavers.internal/x", "https://example.com/x", "https://host.org/owner/x"]
)
def test_addresses_that_lead_nowhere_are_refused(address: str, decided: Path):
    write(decided, "pyproject.toml", TEXTS["pyproject.toml"].replace(ADDRESS, address))
    faults = list(find_faults(decided))
    assert [fault for fault in faults if "`Repository`" in fault and fault.startswith("pyproject.toml")]
    assert [fault for fault in faults if "`Icon`" in fault]


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_a_readme_with_another_address_is_refused(page: str, decided: Path):
    write(decided, page, "git clone REPOSITORY animatediff_loom\n")
    assert list(find_faults(decided)) == [
        f"{page}: `git clone` does not name `Repository` of pyproject.toml. Write {ADDRESS} there."
    ]


def test_a_version_that_the_changelog_lacks_is_refused(decided: Path):
    write(decided, "CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n")
    (fault,) = find_faults(decided)
    assert fault.startswith("CHANGELOG.md: version 1.2.3")


def test_every_decision_of_the_owner_stands_in_the_marked_place():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    place = project.partition("# TO BE DECIDED")[2].partition("# Decided:")[0]
    assert re.findall(r'^(\w+) = "', place, re.M) == list(OWNER_DECIDES)
    assert "to-be-decided" not in project.replace(place, "")


def test_nothing_but_tracked_files_is_packed():
    """Folders in `includes` would be packed as well, whatever git and .comfyignore say."""
    assert "\nincludes = []\n" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@in_a_checkout
def test_the_script_states_the_size_and_every_fault():
    script = ROOT / "scripts" / "check_release.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    size = re.match(r"The archive holds \d+ files, \d+\.\d MB\.\n", done.stdout)
    assert size
    faults = list(find_faults())
    assert [fault for fault in faults if fault not in done.stderr.splitlines()] == []
    assert not faults or (done.returncode == 1 and done.stdout.endswith("Not ready to publish.\n"))
