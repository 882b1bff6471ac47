"""Workflows in API format: node ids, each with a class_type and inputs."""

from typing import Any

from .converter import Converter
from .graph import Graph, Node
from .notes import Note
from .rules import Rules

Prompt = dict[str, Any]


def convert_prompt(prompt: Prompt, rules: Rules) -> tuple[Prompt, list[Note]]:
    """Return a converted copy, without nodes that nothing needs any more."""
    converter = Converter(read_prompt(prompt), rules)
    converter.run()
    for name in converter.dead():
        del converter.graph.nodes[name]
    return write_prompt(prompt, converter.graph, rules), converter.notes


def read_prompt(prompt: Prompt) -> Graph:
    nodes = {
        name: Node(node["class_type"], dict(node["inputs"]), node.get("_meta", {}).get("title", ""))
        for name, node in prompt.items()
    }
    return Graph(nodes, 1 + max((int(name) for name in prompt if name.isdigit()), default=0))


def write_prompt(prompt: Prompt, graph: Graph, rules: Rules) -> Prompt:
    """Return the nodes of a graph; what `prompt` says besides of those that stay is kept."""
    return {name: _write_node(prompt.get(name), node, rules) for name, node in graph.nodes.items()}


def _write_node(original: dict[str, Any] | None, node: Node, rules: Rules) -> dict[str, Any]:
    if original:
        return {**original, "inputs": node.inputs}
    widgets = fill_widgets(rules["targets"][node.kind]["widgets"], node.inputs)
    return {"inputs": {**widgets, **node.inputs}, "class_type": node.kind, "_meta": {"title": node.kind}}


def fill_widgets(widgets: list[list[Any]], inputs: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of all widgets of a new node by name, in order, those of the chosen option included.

    A linked widget has its default, which the node shows but does not use.
    """
    filled = {}
    for name, default, *options in widgets:
        value = inputs.get(prefix + name, default)
        filled[prefix + name] = default if isinstance(value, list) else value
        if options:
            filled |= fill_widgets(options[0][filled[prefix + name]], inputs, f"{prefix}{name}.")
    return filled
