"""The shipped files keep the promises of SECURITY.md, and it lists what scanners report of them."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from host.checkout import ROOT
from release.archive import list_shipped

from tests.support.checkout import in_a_checkout
from tests.support.texts import english_links, headings

PAGES = ["SECURITY.md", "SECURITY.zh.md"]
OF_COMFYUI = {"comfy", "comfy_api", "comfy_execution", "comfyui_version", "folder_paths"}
OF_COMFYUI |= {"torch", "numpy", "einops", "PIL", "safetensors", "tqdm", "av"}
NETWORK = {"asyncio", "ftplib", "http", "imaplib", "poplib", "select", "selectors", "smtplib", "socket", "socketserver"}
NETWORK |= {"ssl", "urllib", "xmlrpc"}
PROCESSES = {"concurrent", "ctypes", "multiprocessing", "os", "pty", "signal", "subprocess"}
CODE = {"builtins", "code", "codeop", "compileall", "marshal", "runpy", "shelve"}
CALLS = {"__import__", "compile", "eval", "exec", "open"}
ATTRIBUTES = {"environ", "getenv", "popen", "routes", "spawn", "system"}
SCANNED = {  # words that scanners for custom nodes take for an attack, wherever they stand
    "ord": r"\bord\(",
    "import_module": r"\bimport_module\(",
    "pickle": r"^\s*(?:import|from) pickle|pickle\.(?:load|Unpickler)",
    "running code": r"(?:eval|exec|compile|execfile|__import__)\(|globals\(\)\[|locals\(\)\[",
    "processes": r"subprocess\.|os\.(?:system|popen|exec|spawn)|shell=True",
    "decoding": r"base64|unhexlify|fromhex|codecs\.|marshal\.|(?:zlib|lzma|gzip)\.|rot13|chr\(int\(|\\x00\\x00",
    "network": r"urllib|requests\.|aiohttp|httpx|socket\.|\.(?:connect|bind|send)\(|raw\.githubusercontent",
    "environment": r"os\.environ|os\.getenv|platform\.(?:system|node|machine)",
    "names without a def": r"lambda [x_]:",
}
TEXTS = {".py", ".js", ".json", ".md", ".toml", ".txt", ".yaml", ".yml"}

pytestmark = in_a_checkout


def shipped(*suffixes: str) -> list[Path]:
    return [ROOT / name for name in list_shipped() if Path(name).suffix in suffixes]


def nodes(kind: type | tuple[type, ...]) -> Iterator[tuple[str, ast.AST]]:
    """Yield the syntax nodes of a kind in the shipped Python files, with the names of these."""
    for file in shipped(".py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        yield from ((file.relative_to(ROOT).as_posix(), node) for node in ast.walk(tree) if isinstance(node, kind))


def imported() -> Iterator[tuple[str, str]]:
    for file, node in nodes((ast.Import, ast.ImportFrom)):
        if isinstance(node, ast.Import):
            yield from ((file, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield file, node.module.partition(".")[0]


def test_the_pack_imports_only_python_and_packages_of_comfyui():
    allowed = (set(sys.stdlib_module_names) | OF_COMFYUI) - NETWORK - PROCESSES - CODE
    assert [(file, name) for file, name in imported() if name not in allowed] == []


def test_the_pack_runs_no_text_and_asks_the_system_for_nothing():
    called = [(file, node.func.id) for file, node in nodes(ast.Call) if isinstance(node.func, ast.Name)]
    assert [call for call in called if call[1] in CALLS] == []
    assert [(file, node.attr) for file, node in nodes(ast.Attribute) if node.attr in ATTRIBUTES] == []


def test_weights_are_read_in_one_place_only():
    readers = {"load", "load_file", "load_torch_file", "safe_open"}
    reading = {file for file, node in nodes(ast.Attribute) if node.attr in readers}
    reading |= {file for file, node in nodes(ast.alias) if node.name in readers}
    assert reading == {"motion_modules/files/reading.py"}


def findings(word: str) -> set[str]:
    """Return the shipped files in which a scanner would find a word."""
    texts = ((file, file.read_text(encoding="utf-8")) for file in shipped(*TEXTS))
    return {file.relative_to(ROOT).as_posix() for file, text in texts if re.search(SCANNED[word], text, re.M)}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("word", SCANNED)
def test_what_a_scanner_reports_is_listed(word: str, page: str):
    rows = re.findall(rf"^\|[^|]*`{word}`[^|]*\|(.*)$", (ROOT / page).read_text(encoding="utf-8"), re.M)
    assert findings(word) == set(re.findall(r"\]\(([^)]+)\)", "".join(rows)))


def test_both_languages_say_the_same():
    english, chinese = ((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    assert headings(english) == headings(chinese)
    assert [english.count(mark) for mark in ("\n|", "\n- **")] == [chinese.count(mark) for mark in ("\n|", "\n- **")]
    assert set(english_links(english)) == set(english_links(chinese))


def test_the_extension_of_the_frontend_has_the_name_of_the_pack():
    """An extension of the same name in another pack would silently replace it."""
    (name,) = re.findall(r'^DisplayName = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    prefix = re.sub(r"[^a-z0-9]", "", name.lower())
    scripts = [script.read_text(encoding="utf-8") for script in shipped(".js")]
    names = [re.findall(r'registerExtension\(\{\s*name: "([^"]+)"', script) for script in scripts]
    assert sum(map(len, names)) == sum("registerExtension" in script for script in scripts) > 0
    assert all(name.startswith(f"{prefix}.") for each in names for name in each)
