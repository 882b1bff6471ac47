"""The public names of the pack's nodes, as a running host lists them."""

from typing import Any

from host.checkout import PACK
from host.server import Server

FILE_LISTS = {"motion_model", "motion_lora"}
MODULE = f"custom_nodes.{PACK}"


def published_names(server: Server) -> dict[str, Any]:
    """Node ids with their inputs (and the values of combos that are the pack's own) and outputs."""
    nodes = server.get("/object_info")
    return {node_id: _node(node) for node_id, node in sorted(nodes.items()) if node["python_module"] == MODULE}


def missing_names(published: Any, found: Any, path: str = "") -> list[str]:
    """Return what is in `published` and no longer in `found`."""
    if isinstance(published, dict):
        gone = [f"{path}/{name}" for name in published if name not in found]
        kept = [name for name in published if name in found]
        return gone + [name for key in kept for name in missing_names(published[key], found[key], f"{path}/{key}")]
    if isinstance(published, list) and not path.endswith("/outputs"):
        return [f"{path}/{value}" for value in published if value not in found]
    same = found[: len(published)] == published if isinstance(published, list) else found == published
    return [] if same else [f"{path}: {published} became {found}"]


def _node(node: dict[str, Any]) -> dict[str, Any]:
    outputs = [list(output) for output in zip(node["output_name"], node["output"], strict=True)]
    return {"inputs": _inputs(node["input"]), "outputs": outputs}


def _inputs(sections: dict[str, Any]) -> dict[str, Any]:
    inputs = {**sections.get("required", {}), **sections.get("optional", {})}
    return {name: _values(name, *spec) for name, spec in inputs.items()}


def _values(name: str, kind: Any, options: dict[str, Any] | None = None) -> Any:
    options = options or {}
    if kind == "COMFY_DYNAMICCOMBO_V3":
        return {option["key"]: _inputs(option["inputs"]) for option in options["options"]}
    if name in FILE_LISTS or kind not in ("COMBO", "MULTICOMBO"):
        return kind
    return options["options"]
