"""The archive of the registry, installed in a new ComfyUI: every page, picture, template and text that it serves."""

import re
import sys
import zipfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest
from animatediff_loom.nodes import NODES
from host.checkout import PACK, ROOT
from host.data_folder import remove_link
from host.server import ADDRESS, Server
from release.archive import build_archive

from tests.support.checkout import in_a_checkout
from tests.support.texts import local_links
from tests.support.workflows import mini_prompt, run_latents, without_files

IDS = [node.GET_SCHEMA().node_id for node in NODES]
LARGEST, ROUNDING = 45e6, 2e6  # bytes; of the archive, and of the size that CONTRIBUTING states
PICTURE = re.compile(r"!\[[^]]*\]\(([^)\s]+)\)")

pytestmark = in_a_checkout


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("archive") / "node.zip"
    build_archive(file)
    return file


@pytest.fixture(scope="module")
def installed(archive: Path, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server whose only custom node is the unpacked archive."""
    server = Server(Path(sys.executable), tree, tmp_path_factory.mktemp("fresh"))
    folder = folder_of(server)
    remove_link(folder)
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    with server:
        yield server


def folder_of(server: Server) -> Path:
    return server.folder / "custom_nodes" / PACK


def fetch(server: Server, path: str) -> bytes:
    """Return what the server answers to a browser; an empty text if it has nothing at `path`."""
    connection = HTTPConnection(ADDRESS, server.port, timeout=60)
    try:
        connection.request("GET", quote(path))
        answer = connection.getresponse()
        return answer.read() if answer.status == 200 else b""
    finally:
        connection.close()


def test_the_archive_is_as_large_as_stated(archive: Path):
    size = archive.stat().st_size
    assert size < LARGEST, f"{size / 1e6:.1f} MB"
    for page in ("CONTRIBUTING.md", "CONTRIBUTING.zh.md"):
        (stated,) = re.findall(r"(\d+) MB\W", (ROOT / page).read_text(encoding="utf-8"))
        assert abs(float(stated) * 1e6 - size) < ROUNDING, f"{page} states {stated} MB, not {size / 1e6:.1f}"


def test_names_of_files_are_plain(archive: Path):
    """comfy-cli leaves out files that git quotes in its listing, those with other letters than ASCII."""
    with zipfile.ZipFile(archive) as content:
        assert [name for name in content.namelist() if not name.isascii() or '"' in name] == []


def test_every_node_is_there(installed: Server):
    assert [name for name in IDS if installed.node(name) is None] == []
    assert [line for line in installed.log_lines() if PACK in line and re.search("warn|error|cannot", line, re.I)] == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("node", IDS)
def test_every_help_page_and_its_pictures_are_served(node: str, language: str, installed: Server):
    page = fetch(installed, f"/extensions/{PACK}/docs/{node}/{language}.md")
    assert page == (ROOT / "web" / "docs" / node / f"{language}.md").read_bytes()
    for picture in PICTURE.findall(page.decode("utf-8")):
        assert fetch(installed, f"/extensions/{PACK}/docs/{picture}"), picture


def test_every_template_is_served_with_its_picture(installed: Server):
    names = installed.get("/workflow_templates")[PACK]
    assert sorted(names) == sorted(file.stem for file in (ROOT / "workflows").glob("*.json"))
    for name in names:
        for suffix in (".json", ".jpg"):
            path = f"/api/workflow_templates/{PACK}/{name}{suffix}"
            assert fetch(installed, path) == (ROOT / "workflows" / f"{name}{suffix}").read_bytes()


def test_a_clip_is_made_without_any_download(installed: Server):
    """No folder of this server has a model file."""
    assert installed.get("/models/animatediff_models") == []
    prompt = without_files(mini_prompt("a red circle moving right", steps=1))
    assert run_latents(installed, prompt).shape == (16, 4, 8, 8)


def test_every_locale_is_served(installed: Server):
    texts = installed.get("/i18n")
    for folder in (ROOT / "locales").iterdir():
        assert set(texts[folder.name]["nodeDefs"]) == set(IDS)


def test_every_script_of_the_frontend_is_served(installed: Server):
    scripts = {path for path in installed.get("/extensions") if path.startswith(f"/extensions/{PACK}/")}
    files = [file.relative_to(ROOT / "web").as_posix() for file in (ROOT / "web").rglob("*.js")]
    assert scripts == {f"/extensions/{PACK}/{file}" for file in files}
    assert fetch(installed, f"/extensions/{PACK}/conversion/rules.json")
    assert [path for path in scripts if not fetch(installed, path)] == []


def test_every_link_of_every_page_leads_to_an_installed_file(installed: Server):
    root = folder_of(installed).resolve()
    pages = sorted(root.rglob("*.md"))
    assert {page.name for page in pages} >= {"README.md", "README.zh.md", "CHANGELOG.md", "SECURITY.md"}
    broken = [(page.relative_to(root).as_posix(), link) for page in pages for link in broken_links(page, root)]
    assert broken == []


def broken_links(page: Path, root: Path) -> list[str]:
    """Return the links to what is not in `root`. The frontend looks for pictures of help pages in the docs folder."""
    text, help_pages = page.read_text(encoding="utf-8"), root / "web" / "docs"
    pictures = PICTURE.findall(text) if page.is_relative_to(help_pages) else []
    targets = {link: (help_pages if link in pictures else page.parent) / link for link in local_links(text)}
    return [link for link, path in targets.items() if not (path.exists() and path.resolve().is_relative_to(root))]
