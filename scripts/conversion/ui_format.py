"""Workflows in UI format: nodes with positions, links with numbers, subgraphs."""

from copy import deepcopy
from itertools import count
from typing import Any

from .api_format import fill_widgets
from .converter import Converter
from .graph import MUTED, Graph, Node, is_link
from .notes import Note
from .placing import corner, place
from .rules import Rules, Widgets, widgets_of

Workflow = dict[str, Any]
LINK_PARTS = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
OUTPUTS = "-20"  # the node that stands for the outputs of a subgraph


def convert_workflow(workflow: Workflow, rules: Rules) -> tuple[Workflow, list[Note]]:
    """Return a converted copy. Nodes that nothing needs any more stay, but are muted."""
    workflow = deepcopy(workflow)
    subgraphs = workflow.get("definitions", {}).get("subgraphs", [])
    graphs = [workflow, *subgraphs]
    next_id = 1 + max((int(node["id"]) for graph in graphs for node in graph["nodes"]), default=0)
    next_id, notes = max(next_id, 1 + workflow.get("last_node_id", 0)), []
    for part in graphs:
        converter = Converter(read_graph(part, rules, next_id), rules)
        converter.run()
        for name in converter.dead():
            converter.graph.nodes[name].mode = MUTED
        write_graph(part, converter.graph, rules)
        notes += converter.notes
        next_id = converter.graph.next_id
    workflow["last_node_id"] = next_id - 1
    return workflow, notes


def read_graph(part: Workflow, rules: Rules, next_id: int) -> Graph:
    """Return the nodes of a workflow or of a subgraph."""
    origins = {link[0]: [str(link[1]), link[2]] for link in map(_as_list, part["links"])}
    nodes = {str(node["id"]): _read_node(node, origins, rules) for node in part["nodes"]}
    ends = (_as_list(link) for link in part["links"])
    outputs = {f"#{slot}": origins[number] for number, _, _, target, slot, *_ in ends if str(target) == OUTPUTS}
    if outputs:
        nodes[OUTPUTS] = Node("", outputs)
    return Graph(nodes, next_id)


def write_graph(part: Workflow, graph: Graph, rules: Rules) -> None:
    """Put the nodes of a graph into the workflow or the subgraph that it was read from."""
    corners = {str(node["id"]): corner(node) for node in part["nodes"]}
    part["nodes"] = [node for node in part["nodes"] if str(node["id"]) in graph.nodes]
    for node in part["nodes"]:
        node["mode"] = graph.nodes[str(node["id"])].mode
    new = {name: node for name, node in graph.nodes.items() if node.near}
    part["nodes"] += [_new_node(int(name), node, rules) for name, node in new.items()]
    place(part["nodes"], {int(name): corners[node.near] for name, node in new.items()})
    _write_links(part, graph)


def _as_list(link: Any) -> list[Any]:
    if isinstance(link, list):
        return link
    return [link[name] for name in LINK_PARTS]


def _read_node(node: dict[str, Any], origins: dict[int, Any], rules: Rules) -> Node:
    kind, stored, slots = node["type"], node.get("widgets_values") or [], node.get("inputs") or []
    links = {slot["name"]: origins[slot["link"]] for slot in slots if slot.get("link") in origins}
    return Node(
        kind,
        {**_name_widgets(kind, stored, rules), **links},
        node.get("title", ""),
        node.get("mode", 0),
        input_types={slot["name"]: slot["type"] for slot in slots},
        output_types=[slot["type"] for slot in node.get("outputs") or []],
        stored=stored if isinstance(stored, list) else [],
    )


def _name_widgets(kind: str, stored: Any, rules: Rules) -> dict[str, Any]:
    widgets = widgets_of(rules, kind)
    if isinstance(stored, dict):
        return {name: stored[name] for name, *_ in widgets if name in stored}
    older = rules["sources"].get(kind, {}).get("older")
    if older and len(stored) > len(widgets):
        return dict(zip(older, stored, strict=False))
    return _name_values(widgets, list(stored))


def _name_values(widgets: Widgets, stored: list[Any], prefix: str = "") -> dict[str, Any]:
    """Take values from the start of `stored` for widgets, and for those of the options that they choose."""
    named = {}
    for name, _, *options in widgets:
        if not stored:
            break
        named[prefix + name] = value = stored.pop(0)
        if options and value in options[0]:
            named |= _name_values(options[0][value], stored, f"{prefix}{name}.")
    return named


def _new_node(number: int, node: Node, rules: Rules) -> dict[str, Any]:
    schema = rules["targets"][node.kind]
    widgets = fill_widgets(schema["widgets"], node.inputs)
    slots = [_slot(name, kind, optional) for name, kind, *optional in schema["inputs"]]
    linked = [name for name, value in node.inputs.items() if is_link(value) and name in widgets]
    slots += [_slot(name, "*", []) | {"widget": {"name": name}} for name in linked]
    rows = max(len(slots) - len(linked), len(schema["outputs"])) + 1.4 * len(widgets)
    return {
        "id": number,
        "type": node.kind,
        "pos": [0, 0],
        "size": [360, round(40 + 22 * rows) + (160 if "text" in widgets else 0)],
        "flags": {},
        "order": 0,
        "mode": node.mode,
        "inputs": slots,
        "outputs": [{"name": name, "type": kind, "links": None} for name, kind in schema["outputs"]],
        "properties": {"Node name for S&R": node.kind},
        "widgets_values": list(widgets.values()),
    }


def _slot(name: str, kind: str, optional: list[int]) -> dict[str, Any]:
    return {"name": name, "type": kind, "link": None} | ({"shape": 7} if optional else {})


def _write_links(part: Workflow, graph: Graph) -> None:
    """Rewrite the links; one that goes to the same input keeps its number."""
    old = {(str(link[3]), link[4]): link for link in map(_as_list, part["links"])}
    numbers = count(1 + max([part.get("last_link_id", 0), *(link[0] for link in old.values())]))
    types = {str(node["id"]): [slot["type"] for slot in node.get("outputs") or []] for node in part["nodes"]}
    links = []
    for target, slot, name in _list_slots(part, graph):
        origin = graph.nodes[target].inputs.get(name)
        before = old.get((target, slot))
        if is_link(origin):
            number = before[0] if before else next(numbers)
            kinds = types.get(origin[0], [])
            kind = kinds[origin[1]] if origin[1] < len(kinds) else before[5] if before else "*"
            links.append([number, int(origin[0]), origin[1], int(target), slot, kind])
    _connect(part, links)
    part["links"] = _as_stored(links, part)
    if "last_link_id" in part:
        part["last_link_id"] = max([part["last_link_id"], *(link[0] for link in links)])
    _forget_links(part, {link[0] for link in links})


def _list_slots(part: Workflow, graph: Graph) -> list[tuple[str, int, str]]:
    slots = [
        (str(node["id"]), number, slot["name"])
        for node in part["nodes"]
        for number, slot in enumerate(node.get("inputs") or [])
    ]
    if OUTPUTS in graph.nodes:
        slots += [(OUTPUTS, int(name[1:]), name) for name in graph.nodes[OUTPUTS].inputs]
    return slots


def _connect(part: Workflow, links: list[list[Any]]) -> None:
    """Write the numbers of links to the inputs and outputs that they join."""
    ends = {(link[3], link[4]): link for link in links}
    for node in part["nodes"]:
        for slot, entry in enumerate(node.get("inputs") or []):
            link = ends.get((node["id"], slot))
            entry["link"] = link[0] if link else None
            if link and entry["type"] == "*" and "widget" in entry:
                entry["type"] = link[5]
        for slot, entry in enumerate(node.get("outputs") or []):
            entry["links"] = [link[0] for link in links if link[1:3] == [node["id"], slot]] or None
    for side, node_id, first in (("inputs", -10, 1), ("outputs", -20, 3)):
        for slot, entry in enumerate(part.get(side, [])) if "inputNode" in part else ():
            entry["linkIds"] = [link[0] for link in links if link[first : first + 2] == [node_id, slot]]


def _as_stored(links: list[list[Any]], part: Workflow) -> list[Any]:
    if not part["links"] or isinstance(part["links"][0], list):
        return links
    return [dict(zip(LINK_PARTS, link, strict=True)) for link in links]


def _forget_links(part: Workflow, numbers: set[int]) -> None:
    """Take links that are gone out of the bends that were drawn in them."""
    extra = part.get("extra") or {}
    if "linkExtensions" in extra:
        extra["linkExtensions"] = [entry for entry in extra["linkExtensions"] if entry["id"] in numbers]
    for bend in extra.get("reroutes", []):
        bend["linkIds"] = [number for number in bend.get("linkIds", []) if number in numbers]
    if "reroutes" in extra:
        extra["reroutes"] = [bend for bend in extra["reroutes"] if bend["linkIds"]]
