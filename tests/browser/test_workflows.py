"""Every example workflow opens in the real frontend just as it was saved, and its API twin is what Run would queue."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from export_api_workflows import export, twin_of
from host.frontend import load_workflow, ui_workflow
from host.server import Server
from playwright.sync_api import Page, expect

from tests.support.workflows import WORKFLOW_NAMES, WORKFLOWS

PRESS_R = "() => app.refreshComboInNodes()"


def read(name: str) -> dict[str, Any]:
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def wanted_models(workflow: dict[str, Any]) -> list[dict[str, str]]:
    return [model for node in workflow["nodes"] for model in node["properties"].get("models", [])]


def wanted_videos(workflow: dict[str, Any]) -> list[str]:
    return [node["widgets_values"][0] for node in workflow["nodes"] if node["type"] == "LoadVideo"]


@pytest.fixture
def listed_files(page: Page, host_server: Server) -> Iterator[None]:
    """Files that the host lists under the names of models and videos in the workflows; nothing is loaded from them."""
    models = [model for name in WORKFLOW_NAMES for model in wanted_models(read(name))]
    files = {host_server.folder / "models" / model["directory"] / model["name"] for model in models}
    files |= {host_server.folder / "input" / video for name in WORKFLOW_NAMES for video in wanted_videos(read(name))}
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    page.evaluate(PRESS_R)
    yield
    for file in files:
        file.unlink()
    page.evaluate(PRESS_R)


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_workflow_opens_as_saved(name: str, listed_files: None, page: Page, keep_picture: Callable[[str], None]):
    saved = read(name)
    load_workflow(page, saved)
    keep_picture(name)

    now = ui_workflow(page)
    assert {key: now[key] for key in ("nodes", "links", "groups")} == {
        key: saved[key] for key in ("nodes", "links", "groups")
    }
    assert page.evaluate("() => app.graph.nodes.filter(n => !LiteGraph.registered_node_types[n.type])") == []
    assert page.evaluate("() => app.graph.nodes.filter(n => n.has_errors).map(n => n.type)") == []
    expect(page.get_by_role("button", name="View details")).to_have_count(0)


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_missing_models_are_offered(name: str, page: Page, keep_picture: Callable[[str], None]):
    load_workflow(page, read(name))
    page.get_by_role("button", name="View details").click()
    for model in wanted_models(read(name)):
        expect(page.get_by_role("button", name=f"Download {model['name']}")).to_be_visible()
    keep_picture(f"{name}_missing_models")


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_api_twin_is_up_to_date(name: str, page: Page):
    workflow = WORKFLOWS / f"{name}.json"
    assert twin_of(workflow).read_text(encoding="utf-8") == export(page, workflow), "run export_api_workflows.py"


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_nodes_do_not_overlap(name: str):
    boxes = [(node["pos"], node["size"]) for node in read(name)["nodes"]]
    for index, (corner, size) in enumerate(boxes):
        for other_corner, other_size in boxes[:index]:
            overlaps = [
                corner[axis] + size[axis] <= other_corner[axis] or other_corner[axis] + other_size[axis] <= corner[axis]
                for axis in range(2)
            ]
            assert any(overlaps), (corner, other_corner)
