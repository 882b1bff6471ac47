"""Which names of the host the pack uses, read from its sources."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

HOST_MODULES = {"comfy", "comfy_api", "comfyui_version", "folder_paths", "server"}
SOURCES = ("__init__.py", "nodes", "sampling", "motion_modules", "training", "inspection")


def sources(root: Path) -> Iterator[Path]:
    for name in SOURCES:
        yield from [root / name] if name.endswith(".py") else sorted((root / name).rglob("*.py"))


def used_symbols(source: str) -> set[str]:
    """Dotted names of the host in a source: everything imported, and every attribute chain on it."""
    tree = ast.parse(source)
    local_names, imported = _imports(tree)
    chains = {chain for node in ast.walk(tree) if (chain := _chain(node, local_names))}
    return _longest(chains | imported)


def used_attributes(source: str) -> set[str]:
    """Every attribute that is read from anything, `.clone` for instance."""
    return {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}


def resolve(symbol: str) -> object:
    """The object of a dotted name; ImportError or AttributeError when the host has none."""
    module, parts = importlib.import_module(symbol.split(".")[0]), symbol.split(".")[1:]
    found: object = module
    for index, part in enumerate(parts, 1):
        if isinstance(found, ModuleType) and not hasattr(found, part):
            found = importlib.import_module(".".join(symbol.split(".")[: index + 1]))
        else:
            found = getattr(found, part)
    return found


def _imports(tree: ast.AST) -> tuple[dict[str, str], set[str]]:
    """Return the target of each local name, and everything that is imported."""
    found = [pair for node in ast.walk(tree) for pair in _imported_by(node)]
    ours = [(local, target, whole) for local, target, whole in found if target.split(".")[0] in HOST_MODULES]
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
    """Without those that are only the beginning of another."""
    return {chain for chain in chains if not any(other.startswith(f"{chain}.") for other in chains)}
