"""Nothing published is removed: node ids, inputs, combo values and outputs stay as published_names.json has them."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from host.checkout import PACK
from host.server import Server

FILE = Path(__file__).with_name("published_names.json")
FILE_LISTS = {"camera_model", "folder", "motion_model", "motion_lora", "sparse_control"}
MODULE = f"custom_nodes.{PACK}"


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def test_nothing_published_has_gone(published: dict[str, Any], host_server: Server):
    assert missing_names(published, published_names(host_server)) == []


def test_new_names_are_written_down(published: dict[str, Any], host_server: Server):
    listed = published_names(host_server)
    assert missing_names(listed, published) == [], f"add them to {FILE.name}:\n{json.dumps(listed, indent=2)}"


def test_what_counts_as_gone(published: dict[str, Any]):
    changed = deepcopy(published)
    apply = changed["LoomApplyMotionModel"]
    apply["inputs"]["beta_schedule"].remove("auto")
    apply["inputs"].pop("strength")
    apply["outputs"][0][1] = "LATENT"
    changed.pop("LoomMotionModelInfo")

    gone = missing_names(published, changed)

    assert len(gone) == 4
    assert {"/LoomMotionModelInfo", "/LoomApplyMotionModel/inputs/strength"} < set(gone)
    assert "/LoomApplyMotionModel/inputs/beta_schedule/auto" in gone
    assert missing_names(published, published | {"LoomLater": {}}) == []


def test_every_input_is_explained(host_server: Server):
    nodes = host_server.get("/object_info")
    for node_id in published_names(host_server):
        node = nodes[node_id]
        assert node["display_name"] and node["description"].endswith("."), node_id
        for section in ("required", "optional"):
            for name, (_, options) in node["input"].get(section, {}).items():
                assert len(options["tooltip"]) > 20, f"{node_id}.{name} has no tooltip"


def published_names(server: Server) -> dict[str, Any]:
    """Return node ids with their inputs (and the values of combos that are the pack's own) and outputs."""
    nodes = server.get("/object_info")
    return {node_id: _node(node) for node_id, node in sorted(nodes.items()) if node["python_module"] == MODULE}


def missing_names(published: Any, listed: Any, path: str = "") -> list[str]:
    """Return what is in `published` and no longer in `listed`."""
    if isinstance(published, dict):
        gone = [f"{path}/{name}" for name in published if name not in listed]
        kept = [name for name in published if name in listed]
        return gone + [name for key in kept for name in missing_names(published[key], listed[key], f"{path}/{key}")]
    if isinstance(published, list) and not path.endswith("/outputs"):
        return [f"{path}/{value}" for value in published if value not in listed]
    same = listed[: len(published)] == published if isinstance(published, list) else listed == published
    return [] if same else [f"{path}: {published} became {listed}"]


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
