"""Every template opens in the real frontend just as it was saved, and its API twin is what Run would queue.

Templates of earlier commits, under other names, open as well.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

import pytest
from export_api_workflows import export, twin_of
from host.checkout import ROOT
from host.frontend import FIT_VIEW, load_workflow, ui_workflow
from host.server import Server
from playwright.sync_api import Page, expect
from release.archive import ask_git

from tests.support.checkout import in_a_checkout
from tests.support.workflows import WORKFLOW_NAMES, find_template

PRESS_R = "() => app.refreshComboInNodes()"
FILES = {"LoadVideo", "LoadImage"}
UNKNOWN = "() => app.graph.nodes.filter(n => !LiteGraph.registered_node_types[n.type]).map(n => n.type)"
RENDERERS = {"classic": False, "vue": True}
SET_RENDERER = "on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
DRAWN_BOXES = """isVue => {
  const { ds } = app.canvas;
  const boxes = app.graph.nodes.map(node => {
    const element = document.querySelector(`[data-node-id="${node.id}"]`);
    if (!isVue) return [node.id, [...node.boundingRect]];
    if (!element) return null;
    const { left, top, width, height } = element.getBoundingClientRect();
    const corner = [left / ds.scale - ds.offset[0], top / ds.scale - ds.offset[1]];
    return [node.id, [...corner, width / ds.scale, height / ds.scale]];
  });
  const drawn = JSON.stringify(boxes);
  const isSteady = !boxes.includes(null) && drawn === window.lastBoxes;
  window.lastBoxes = drawn;
  return isSteady && boxes;
}"""
HIDDEN_TEXT = """() => app.graph.nodes.filter(node => node.type === 'MarkdownNote').map(node => {
  const box = document.querySelector(`[data-node-id="${node.id}"]`) ?? node.widgets[0].element;
  const scrolls = each => /auto|scroll/.test(getComputedStyle(each).overflowY);
  const scrolling = [box, ...box.querySelectorAll('*')].filter(scrolls);
  return Math.max(0, ...scrolling.map(each => each.scrollHeight - each.clientHeight));
})"""


class Box(NamedTuple):
    """The outline of a node on the canvas."""

    left: float
    top: float
    width: float
    height: float

    def meets(self, other: "Box") -> bool:
        is_beside = self.left + self.width <= other.left or other.left + other.width <= self.left
        return not (is_beside or self.top + self.height <= other.top or other.top + other.height <= self.top)


def read(name: str) -> dict[str, Any]:
    return json.loads(find_template(name).read_text(encoding="utf-8"))


def wanted_models(workflow: dict[str, Any]) -> list[dict[str, str]]:
    return [model for node in workflow["nodes"] for model in node["properties"].get("models", [])]


def wanted_inputs(workflow: dict[str, Any]) -> list[str]:
    return [node["widgets_values"][0] for node in workflow["nodes"] if node["type"] in FILES]


def wanted_loras(workflow: dict[str, Any]) -> list[str]:
    return [node["widgets_values"][0] for node in workflow["nodes"] if node["type"] == "CreateHookLora"]


def list_earlier() -> list[tuple[str, str]]:
    """Return commit and path of templates that were removed or renamed, as they last were."""
    log = ask_git(
        ROOT, "log", "--diff-filter=D", "--no-renames", "--name-only", "--format=commit %H", "--", "workflows/*.json"
    )
    commit, earlier = "", {}
    for line in filter(None, log.splitlines()):
        if line.startswith("commit "):
            commit = line.split()[1]
        elif "/api/" not in line:
            earlier.setdefault(line, f"{commit}^")
    return [(commit, path) for path, commit in earlier.items()]


@pytest.fixture
def listed_files(page: Page, host_server: Server) -> Iterator[None]:
    """Files that the host lists under the names of models and inputs in the workflows; nothing is loaded from them."""
    saved = [read(name) for name in WORKFLOW_NAMES]
    models = host_server.folder / "models"
    files = {models / model["directory"] / model["name"] for each in saved for model in wanted_models(each)}
    files |= {models / "loras" / lora for each in saved for lora in wanted_loras(each)}
    files |= {host_server.folder / "input" / file for each in saved for file in wanted_inputs(each)}
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
    assert page.evaluate(UNKNOWN) == []
    assert page.evaluate("() => app.graph.nodes.filter(n => n.has_errors).map(n => n.type)") == []
    expect(page.get_by_role("button", name="View details")).to_have_count(0)


@in_a_checkout
def test_templates_of_earlier_commits_open(page: Page):
    """Nothing of what users have saved under an earlier name is lost: all nodes are known, and values are in place."""
    earlier = list_earlier()
    if not earlier:
        pytest.skip("this checkout has no earlier commits")
    for commit, path in earlier:
        saved = json.loads(ask_git(ROOT, "show", f"{commit}:{path}"))
        load_workflow(page, saved)
        assert page.evaluate(UNKNOWN) == [], path
        now = {node["id"]: node for node in ui_workflow(page)["nodes"]}
        for node in saved["nodes"]:
            values = node.get("widgets_values", [])
            assert now[node["id"]].get("widgets_values", [])[: len(values)] == values, (path, node["type"])


WITH_MODELS = [name for name in WORKFLOW_NAMES if wanted_models(read(name))]


@pytest.mark.parametrize("name", WITH_MODELS)
def test_missing_models_are_offered(name: str, page: Page, keep_picture: Callable[[str], None]):
    load_workflow(page, read(name))
    page.get_by_role("button", name="View details").click()
    for model in wanted_models(read(name)):
        expect(page.get_by_role("button", name=f"Download {model['name']}")).to_be_visible()
    keep_picture(f"{name}_missing_models")


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_api_twin_is_up_to_date(name: str, page: Page):
    workflow = find_template(name)
    assert twin_of(workflow).read_text(encoding="utf-8") == export(page, workflow), "run export_api_workflows.py"


@pytest.fixture(scope="module", params=RENDERERS)
def renderer(request: pytest.FixtureRequest, page: Page) -> Iterator[str]:
    page.evaluate(SET_RENDERER, RENDERERS[request.param])
    yield request.param
    page.evaluate(SET_RENDERER, False)


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_nodes_do_not_overlap_and_notes_show_all_their_text(name: str, renderer: str, page: Page):
    load_workflow(page, read(name))
    page.evaluate(FIT_VIEW)
    drawn = page.wait_for_function(DRAWN_BOXES, arg=RENDERERS[renderer], polling=100).json_value()
    boxes = {node: Box(*box) for node, box in drawn}
    assert len(boxes) == len(read(name)["nodes"])
    assert [pair for pair in combinations(boxes, 2) if boxes[pair[0]].meets(boxes[pair[1]])] == []
    assert max(page.evaluate(HIDDEN_TEXT)) <= 0


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_notes_and_titles_are_in_both_languages(name: str):
    """Nodes 2.0 draws code in notes blue on brown, so they have none."""
    workflow = read(name)
    notes = [node["widgets_values"][0] for node in workflow["nodes"] if node["type"] == "MarkdownNote"]
    assert [note for note in notes if "`" in note] == []
    chinese = [bool(re.search(r"[\u4e00-\u9fff]", note)) for note in notes]
    assert chinese and chinese == [False, True] * (len(notes) // 2)
    titles = [group["title"] for group in workflow["groups"]]
    titles += [node["title"] for node in workflow["nodes"] if "title" in node and node["type"] != "MarkdownNote"]
    assert [title for title in titles if not re.fullmatch(r"[ -~]+ \u00b7 .*[\u4e00-\u9fff].*", title)] == []
