"""A workflow as nodes with named inputs, whichever format it was read from."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeGuard

MUTED, BYPASSED = 2, 4
PASS_THROUGH = ("Reroute", "SetNode", "GetNode")  # nodes of the frontend and of KJNodes that only carry a link

Link = list[Any]  # [id of a node, number of its output], as in the API format


@dataclass
class Node:
    """A node; a value of `inputs` is a link or a plain value. `near` is the node that a new one replaces."""

    kind: str
    inputs: dict[str, Any]
    title: str = ""
    mode: int = 0
    near: str = ""
    input_types: dict[str, str] = field(default_factory=dict)
    output_types: list[str] = field(default_factory=list)
    stored: list[Any] = field(default_factory=list)  # values of widgets by position


@dataclass
class Graph:
    """Nodes by id, and the number and the mode that the next new node gets."""

    nodes: dict[str, Node]
    next_id: int
    mode: int = 0

    def add(self, kind: str, inputs: dict[str, Any], near: str) -> str:
        """Add a node and return its id, or that of a new node with the same inputs and mode."""
        for name, node in self.nodes.items():
            if node.near and (node.kind, node.inputs, node.mode) == (kind, inputs, self.mode):
                return name
        name, self.next_id = str(self.next_id), self.next_id + 1
        self.nodes[name] = Node(kind, inputs, mode=self.mode, near=near)
        return name

    def redirect(self, link: Link, target: Any) -> None:
        """Connect everything that `link` fed to `target`, or to nothing when it is None."""
        for node in self.nodes.values():
            for name in [name for name, value in node.inputs.items() if value == link]:
                if target is None:
                    del node.inputs[name]
                else:
                    node.inputs[name] = target

    def consumers(self, node_id: str) -> Iterator[str]:
        """Yield the ids of the nodes that take something from a node."""
        source = self.nodes[node_id]
        for name, node in self.nodes.items():
            named = source.kind == "SetNode" and node.kind == "GetNode" and node.stored[:1] == source.stored[:1]
            if named or any(is_link(value) and value[0] == node_id for value in node.inputs.values()):
                yield name

    def resolve(self, link: Any, passed: set[str] | None = None) -> Any:
        """Return where a link starts, past reroutes and bypassed nodes, which `passed` collects; None for nowhere."""
        for _ in range(len(self.nodes) + 1):
            node = self.nodes.get(link[0]) if is_link(link) else None
            if node is None or (node.kind not in PASS_THROUGH and node.mode not in (MUTED, BYPASSED)):
                return link
            if passed is not None:
                passed.add(link[0])
            link = None if node.mode == MUTED else self._before(node, link[1])
        return None

    def _before(self, node: Node, slot: int) -> Any:
        if node.kind == "GetNode":
            sets = (name for name, other in self.nodes.items() if other.kind == "SetNode")
            name = next((name for name in sets if self.nodes[name].stored[:1] == node.stored[:1]), None)
            return [name, 0] if name else None
        links = {name: value for name, value in node.inputs.items() if is_link(value)}
        if node.kind in PASS_THROUGH:
            return next(iter(links.values()), None)
        wanted = node.output_types[slot] if slot < len(node.output_types) else ""
        return next((value for name, value in links.items() if node.input_types.get(name) == wanted), None)


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_link(value: Any) -> TypeGuard[Link]:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)
