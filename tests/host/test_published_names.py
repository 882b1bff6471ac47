"""Nothing published is removed: node ids, inputs, combo values and outputs stay as published_names.json has them."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from host.server import Server

from tests.support.published_names import missing_names, published_names

FILE = Path(__file__).with_name("published_names.json")


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def test_nothing_published_has_gone(published: dict[str, Any], host_server: Server):
    assert missing_names(published, published_names(host_server)) == []


def test_new_names_are_written_down(published: dict[str, Any], host_server: Server):
    found = published_names(host_server)
    assert missing_names(found, published) == [], f"add them to {FILE.name}:\n{json.dumps(found, indent=2)}"


def test_what_counts_as_gone(published: dict[str, Any]):
    found = deepcopy(published)
    apply = found["LoomApplyMotionModel"]
    apply["inputs"]["beta_schedule"].remove("auto")
    apply["inputs"].pop("strength")
    apply["outputs"][0][1] = "LATENT"
    found.pop("LoomMotionModelInfo")

    gone = missing_names(published, found)

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
