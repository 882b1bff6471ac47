"""Advice about a run is on Apply Motion Model while it samples, in both renderers, and gone when there is none."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from host.frontend import api_prompt, load_workflow, ui_workflow
from playwright.sync_api import Page, expect

from tests.support.workflows import WITHOUT_DOWNLOAD, find_template

TEXT = """() => {
  const node = app.graph.nodes.find(each => each.type === 'LoomApplyMotionModel');
  return node.widgets.find(widget => widget.name === '$$node-text-preview')?.value ?? '';
}"""
SET_WIDGET = """([type, name, value]) => {
  app.graph.nodes.find(each => each.type === type).widgets.find(widget => widget.name === name).value = value;
}"""
SET_RENDERER = "modern => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', modern)"
FEW, ENOUGH, STEPS = 4, 8, 12
WORDS = "the model sees only 4 frames at once, and moves little. Use 16 as in training."


def short_clip(frames: int, steps: int) -> dict[str, Any]:
    """The template without a download, with another number of frames and steps."""
    workflow = json.loads(find_template(WITHOUT_DOWNLOAD).read_text(encoding="utf-8"))
    for node in workflow["nodes"]:
        if node["type"] == "EmptyLatentImage":
            node["widgets_values"] = [64, 64, frames]
        if node["type"] == "KSampler":
            node["widgets_values"][2] = steps
    return workflow


def run(page: Page, workflow: dict[str, Any]) -> None:
    load_workflow(page, workflow)
    page.get_by_test_id("queue-button").click()


@pytest.mark.parametrize("modern", [False, True], ids=["classic", "Nodes 2.0"])
def test_advice_is_on_the_node(page: Page, keep_picture: Callable[[str], None], modern: bool):
    page.evaluate(SET_RENDERER, modern)
    try:
        run(page, short_clip(FEW, 1 + modern))
        page.wait_for_function(f"words => ({TEXT})().includes(words)", arg=WORDS)
        keep_picture(f"advice_{'modern' if modern else 'classic'}")
        if modern:
            expect(page.get_by_text("moves little").first).to_be_visible()
        assert WORDS not in json.dumps(ui_workflow(page)) + json.dumps(api_prompt(page))
        page.evaluate(SET_WIDGET, ["EmptyLatentImage", "batch_size", ENOUGH])
        page.evaluate(SET_WIDGET, ["KSampler", "steps", STEPS])
        page.get_by_test_id("queue-button").click()
        page.wait_for_function(f"() => ({TEXT})() === ''")
    finally:
        page.evaluate(SET_RENDERER, False)
