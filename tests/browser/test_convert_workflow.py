"""The command that converts workflows of AnimateDiff-Evolved, in both renderers."""

from collections.abc import Iterator
from typing import Any

import pytest
from conversion.rules import load_rules
from conversion.ui_format import convert_workflow
from host.checkout import PACK
from host.frontend import api_prompt, load_workflow, open_frontend
from host.server import Server
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import save_picture
from tests.support.evolved_graphs import COMMON, Workflow
from tests.support.unusual_graphs import UNUSUAL

RULES = load_rules()
GRAPHS = COMMON | UNUSUAL
CONVERT = """async ([folder, workflows]) => {
  const { convertWorkflow } = await import(`${folder}/ui_format.js`);
  const { noteText } = await import(`${folder}/converter.js`);
  const rules = await (await fetch(`${folder}/rules.json`)).json();
  return workflows.map(original => {
    const { workflow, notes } = convertWorkflow(original, rules);
    return [workflow, notes.map(note => ["en", "zh"].map(language => noteText(note, rules, language)))];
  });
}"""
EXECUTE = "() => void app.extensionManager.command.execute('AnimateDiffLoom.ConvertWorkflow')"
KEEP_STATE = "() => app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState()"
UNDO_STEPS = "() => app.extensionManager.workflow.activeWorkflow.changeTracker.undoQueue.length"
UNDO = "() => app.extensionManager.workflow.activeWorkflow.changeTracker.undo()"
NODES = "() => app.rootGraph.nodes.map(node => node.type).sort()"
CANVAS_MENU = "() => app.canvas.getCanvasMenuOptions().map(entry => entry?.content)"
LABEL = "Convert AnimateDiff-Evolved nodes"


@pytest.fixture(params=[False, True], ids=["classic", "vue"])
def page(request: pytest.FixtureRequest, browser: Browser, host_server: Server) -> Iterator[Page]:
    host_server.post("/settings/Comfy.VueNodes.Enabled", request.param)
    with open_frontend(browser, host_server) as page:
        yield page
    host_server.post("/settings/Comfy.VueNodes.Enabled", False)


def test_the_command_converts_in_one_undo_step_and_says_what_it_left_out(page: Page, request: pytest.FixtureRequest):
    load_workflow(page, COMMON["looped"]())
    page.evaluate(KEEP_STATE)
    before, steps = page.evaluate(NODES), page.evaluate(UNDO_STEPS)
    assert LABEL in page.evaluate(CANVAS_MENU)
    page.evaluate(EXECUTE)
    dialog = page.get_by_role("dialog").filter(has_text=LABEL)
    expect(dialog).to_contain_text("seed_offset: 3 was left out. Add it to the seed of the sampler.")
    dialog.get_by_role("button", name="OK").click()
    expect(dialog).to_have_count(0)
    save_picture(page, f"converted_{request.node.callspec.id}")
    assert page.evaluate(NODES) == sorted(node["type"] for node in convert("looped")[0]["nodes"])
    assert LABEL not in page.evaluate(CANVAS_MENU)
    (windows,) = (node["inputs"] for node in api_prompt(page).values() if node["class_type"] == "LoomContextWindows")
    assert (windows["schedule"], windows["schedule.closed_loop"], windows["fuse"]) == ("looped", True, "flat")
    assert page.evaluate(UNDO_STEPS) == steps + 1
    page.evaluate(UNDO)
    page.wait_for_function(f"before => JSON.stringify(({NODES})()) === JSON.stringify(before)", arg=before)


def test_the_browser_and_the_script_convert_in_the_same_way(host_server: Server, browser: Browser):
    with open_frontend(browser, host_server) as page:
        graphs = [graph() for graph in GRAPHS.values()]
        results = page.evaluate(CONVERT, [f"/extensions/{PACK}/conversion", graphs])
    for name, result in zip(GRAPHS, results, strict=True):
        assert result == list(convert(name)), name


def convert(name: str) -> tuple[Workflow, list[list[Any]]]:
    """Convert a workflow with the script; the notes are texts in both languages."""
    workflow, notes = convert_workflow(GRAPHS[name](), RULES)
    return workflow, [[note.text(RULES, language) for language in ("en", "zh")] for note in notes]
