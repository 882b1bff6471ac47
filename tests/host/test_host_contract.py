"""Every name of the host that the pack uses is in `host_contract.json`, and the host under test has it."""

import ast
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from host.checkout import ROOT

from tests.support.host import tiny_model

FILE = Path(__file__).with_name("host_contract.json")
OBJECTS = ("comfy.model_patcher.ModelPatcher", "comfy.model_sampling.ModelSamplingDiscrete")
HOST_MODULES = {"comfy", "comfy_api", "comfyui_version", "folder_paths", "server"}
SOURCES = ("__init__.py", "nodes", "sampling", "motion_modules", "training", "inspection")
LIVE = ("BaseModel", "UNetModel", "ResBlock", "CFGGuider")


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [file.read_text(encoding="utf-8") for file in sources(ROOT)]


def test_contract_names_every_symbol(contract: dict[str, Any], texts: list[str]):
    used = sorted(set().union(*map(used_symbols, texts)))
    assert contract["symbols"] == used, f"{FILE.name} differs from the sources:\n{json.dumps(used, indent=2)}"


@pytest.mark.parametrize("name", OBJECTS)
def test_contract_names_every_method(name: str, contract: dict[str, Any], texts: list[str]):
    attributes = set().union(*map(used_attributes, texts))
    of_the_host = set(dir(resolve(name))) - set(dir(torch.nn.Module))
    assert contract["methods"][name] == sorted(attributes & of_the_host), FILE.name


@pytest.fixture(scope="module")
def live_objects() -> dict[str, Any]:
    """Objects that the host makes when it samples, with attributes that instances have but classes do not."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
    from comfy.samplers import CFGGuider

    model = tiny_model()
    unet = model.model.diffusion_model
    block = next(module for module in unet.modules() if isinstance(module, ResBlock))
    return dict(zip(LIVE, (model.model, unet, block, CFGGuider(model)), strict=True))


@pytest.mark.parametrize("name", LIVE)
def test_contract_names_every_attribute(name: str, contract: dict[str, Any], texts: list[str], live_objects):
    attributes = set().union(*map(used_attributes, texts))
    of_the_host = set(dir(live_objects[name])) - set(dir(torch.nn.Module()))
    assert contract["attributes"][name] == sorted(attributes & of_the_host), FILE.name


def test_host_has_every_symbol(contract: dict[str, Any]):
    for symbol in contract["symbols"]:
        resolve(symbol)
    for name, methods in contract["methods"].items():
        missing = [method for method in methods if not hasattr(resolve(name), method)]
        assert not missing, f"{name} has no {missing}"


def test_symbols_are_found_in_sources():
    source = "import comfy.ops\nfrom comfy_api.latest import io as sockets\nfrom .own import x\n"
    used = "comfy.ops.manual_cast.Linear(1)\nsockets.Combo.Input('a')\nx.y.z\ncomfy.ops\n"
    assert used_symbols(source + used) == {"comfy.ops.manual_cast.Linear", "comfy_api.latest.io.Combo.Input"}


def sources(root: Path) -> Iterator[Path]:
    for name in SOURCES:
        yield from [root / name] if name.endswith(".py") else sorted((root / name).rglob("*.py"))


def used_symbols(source: str) -> set[str]:
    """Return the dotted names of the host in a source: everything imported, and every attribute chain on it."""
    tree = ast.parse(source)
    local_names, imported = _imports(tree)
    chains = {chain for node in ast.walk(tree) if (chain := _chain(node, local_names))}
    return _longest(chains | imported)


def used_attributes(source: str) -> set[str]:
    """Return every attribute that is read from anything, `.clone` for instance."""
    return {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}


def resolve(symbol: str) -> object:
    """Return the object of a dotted name; raise ImportError or AttributeError when the host has none."""
    module, parts = importlib.import_module(symbol.split(".")[0]), symbol.split(".")[1:]
    value: object = module
    for index, part in enumerate(parts, 1):
        if isinstance(value, ModuleType) and not hasattr(value, part):
            value = importlib.import_module(".".join(symbol.split(".")[: index + 1]))
        else:
            value = getattr(value, part)
    return value


def _imports(tree: ast.AST) -> tuple[dict[str, str], set[str]]:
    """Return the target of each local name, and everything that is imported."""
    pairs = [pair for node in ast.walk(tree) for pair in _imported_by(node)]
    ours = [(local, target, whole) for local, target, whole in pairs if target.split(".")[0] in HOST_MODULES]
    return {local: target for local, target, _ in ours}, {whole for _, _, whole in ours}


def _imported_by(node: ast.AST) -> Iterator[tuple[str, str, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name.split(".")[0]
            yield (alias.asname, alias.name, alias.name) if alias.asname else (first, first, alias.name)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield alias.asname or alias.name, whole, whole


def _chain(node: ast.AST, local_names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return local_names.get(node.id)
    if isinstance(node, ast.Attribute):
        start = _chain(node.value, local_names)
        return f"{start}.{node.attr}" if start else None
    return None


def _longest(chains: set[str]) -> set[str]:
    """Leave out chains that are only the beginning of another."""
    return {chain for chain in chains if not any(other.startswith(f"{chain}.") for other in chains)}
