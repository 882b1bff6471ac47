"""Places for new nodes in the picture of a graph."""

from typing import Any

TITLE, GAP = 30, 20  # pixels above a node, and between two
DEFAULT_SIZE = (220, 100)

Node = dict[str, Any]


def place(nodes: list[Node], corners: dict[int, list[float]]) -> None:
    """Put each new node at its corner, or below everything that stands there already."""
    placed = [node for node in nodes if node["id"] not in corners]
    for node in (node for node in nodes if node["id"] in corners):
        node["pos"] = list(corners[node["id"]])
        while blockers := [other for other in placed if _overlap(node, other)]:
            node["pos"][1] = max(_bottom(other) for other in blockers) + TITLE + GAP
        placed.append(node)


def corner(node: Node) -> list[float]:
    """Return the position of a node, which old workflows store by number."""
    pos = node.get("pos", [0, 0])
    return [pos["0"], pos["1"]] if isinstance(pos, dict) else list(pos)


def _size(node: Node) -> tuple[float, float]:
    size = node.get("size") or DEFAULT_SIZE
    width, height = (size["0"], size["1"]) if isinstance(size, dict) else size
    return (width, 0) if node.get("flags", {}).get("collapsed") else (width, height)


def _bottom(node: Node) -> float:
    return corner(node)[1] + _size(node)[1]


def _overlap(node: Node, other: Node) -> bool:
    (x, y), (other_x, other_y) = corner(node), corner(other)
    (width, height), (other_width, other_height) = _size(node), _size(other)
    beside = x + width <= other_x or other_x + other_width <= x
    return not beside and y - TITLE < other_y + other_height and other_y - TITLE < y + height
