"""Which names of the host the pack uses, read from its sources."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

HOST_MODULES = {"comfy", "comfy_api", "comfyui_version", "folder_paths"}
SOURCES = ("__init__.py", "nodes", "sampling", "motion_modules")


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
    local_names, imported = {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                local_names[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
                imported.add(alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                local_names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                imported.add(f"{node.module}.{alias.name}")
    ours = {name: target for name, target in local_names.items() if _of_host(target)}
    return ours, {name for name in imported if _of_host(name)}


def _of_host(name: str) -> bool:
    return name.split(".")[0] in HOST_MODULES


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
