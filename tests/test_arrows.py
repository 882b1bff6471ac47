"""Imports inside the pack run one way: nodes to training and inspection, to sampling, to motion modules.

Every import stands at the top of its file, where a reader and this test see it.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest
from host.checkout import ROOT

LAYERS = {"motion_modules": 0, "sampling": 1, "training": 2, "inspection": 2, "distributed": 2, "demo": 2, "nodes": 3}
LOOM_MINI = "demo/loom_mini"
SHIPPED = {"__init__.py", "architecture.py"}  # of Loom Mini; the rest trains and measures it, with `scripts`
ROOM_ORDER = ("architectures", "adapters", "watching", "unet", "files")
ROOMS = {f"motion_modules.{room}": height for height, room in enumerate(ROOM_ORDER)}
REGISTERING = "motion_modules.architectures"  # imports every file of its folder, by name


class Arrow(NamedTuple):
    """An import of one module of the pack by another."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


def read_modules(root: Path) -> dict[str, ast.Module]:
    """Return the syntax trees of the pack's files by their names inside the pack, packages included."""
    files = [file for layer in LAYERS for file in sorted((root / layer).rglob("*.py")) if _is_shipped(file, root)]
    names = [file.relative_to(root).with_suffix("").as_posix().replace("/", ".") for file in files]
    return {
        name.removesuffix(".__init__"): ast.parse(file.read_text(encoding="utf-8"))
        for name, file in zip(names, files, strict=True)
    }


def list_arrows(modules: dict[str, ast.Module]) -> set[Arrow]:
    return {
        Arrow(name, target)
        for name, tree in modules.items()
        for node in ast.walk(tree)
        for target in targets(node, name, modules)
        if target != name
    }


def targets(node: ast.AST, name: str, modules: dict[str, ast.Module]) -> Iterator[str]:
    """Yield the modules of the pack that a statement in the module `name` imports."""
    if not isinstance(node, ast.ImportFrom) or not node.level:
        return
    is_package = any(other.startswith(f"{name}.") for other in modules)
    parts = name.split(".")
    package = parts[: len(parts) - node.level + is_package]
    origin = ".".join([*package, *([node.module] if node.module else [])])
    for alias in node.names:
        yield f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in modules else origin


def upward_arrows(arrows: set[Arrow]) -> list[str]:
    """Return the imports of a higher layer or room, and of another one at the same height."""
    return sorted(str(arrow) for arrow in arrows if _is_upward(arrow, _layer) or _is_upward(arrow, _room))


def find_circle(arrows: set[Arrow]) -> list[str]:
    """Return the modules of one circle of imports, the first of them again at the end; empty without a circle."""
    graph: dict[str, set[str]] = {}
    for arrow in arrows:
        if not arrow.source.startswith(f"{arrow.target}."):  # `from . import x` of its own package
            graph.setdefault(arrow.source, set()).add(arrow.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


def hidden_imports(modules: dict[str, ast.Module]) -> list[str]:
    """Return the imports of the pack that are not plain statements at the top of a file."""
    return sorted(
        f"{name}, line {node.lineno}: {ast.unparse(node).splitlines()[0]}"
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if _is_by_name(node, name) or _is_absolute(node) or (_is_relative(node) and node not in tree.body)
    )


def _is_shipped(file: Path, root: Path) -> bool:
    return file.parent != root / LOOM_MINI or file.name in SHIPPED


def _is_upward(arrow: Arrow, place) -> bool:
    (source, source_height), (target, target_height) = place(arrow.source), place(arrow.target)
    return None not in (source_height, target_height) and source != target and source_height <= target_height


def _layer(module: str) -> tuple[str, int | None]:
    layer = module.split(".")[0]
    return layer, LAYERS[layer]


def _room(module: str) -> tuple[str, int | None]:
    room = ".".join(module.split(".")[:2])
    return room, ROOMS.get(room)


def _is_relative(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and bool(node.level)


def _is_absolute(node: ast.AST) -> bool:
    """`nodes` is also a module of the host, which the pack never imports."""
    absolute = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
    absolute += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    return any(name.split(".")[0] in {*LAYERS, "animatediff_loom"} for name in absolute)


def _is_by_name(node: ast.AST, module: str) -> bool:
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}
        and module != REGISTERING
    )


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    return read_modules(ROOT)


def test_no_import_goes_upwards(modules: dict[str, ast.Module]):
    assert upward_arrows(list_arrows(modules)) == []


def test_no_imports_form_a_circle(modules: dict[str, ast.Module]):
    circle = find_circle(list_arrows(modules))
    assert not circle, " -> ".join(circle)


def test_no_import_is_hidden(modules: dict[str, ast.Module]):
    assert hidden_imports(modules) == []


WRONG = {
    "of the demo by other layers than nodes": (
        "from ..demo.loom_mini import architecture",
        "sampling.wrong -> demo.loom_mini.architecture",
    ),
    "from a lower layer": ("from ..nodes import inputs", "sampling.wrong -> nodes.inputs"),
    "hidden from the interpreter": ("if TYPE_CHECKING:\n    from . import steps", "line 2: from . import steps"),
    "inside a function": ("def f():\n    from . import steps", "line 2: from . import steps"),
    "by a string": ("importlib.import_module('.steps', 'sampling')", "line 1: importlib.import_module"),
    "absolute": ("import nodes", "line 1: import nodes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_import_is_named(case: str, modules: dict[str, ast.Module]):
    source, expected = WRONG[case]
    changed = modules | {"sampling.wrong": ast.parse(source)}
    (fault,) = upward_arrows(list_arrows(changed)) + hidden_imports(changed)
    assert expected in fault


def test_rooms_have_an_order(modules: dict[str, ast.Module]):
    changed = modules | {"motion_modules.watching.wrong": ast.parse("from ..files.loading import load_motion_model")}
    assert upward_arrows(list_arrows(changed)) == ["motion_modules.watching.wrong -> motion_modules.files.loading"]


def test_a_circle_is_named(modules: dict[str, ast.Module]):
    sources = {"sampling.one": "from .two import x", "sampling.two": "from .one import y"}
    changed = modules | {name: ast.parse(source) for name, source in sources.items()}
    circle = find_circle(list_arrows(changed))
    assert circle[0] == circle[-1] and set(circle) == set(sources)
