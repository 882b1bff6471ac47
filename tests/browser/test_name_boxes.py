"""The text boxes of Prompt Schedule carry their names when they are filled."""

import json

import pytest
from host.checkout import ROOT
from host.frontend import open_frontend
from host.server import Server
from playwright.sync_api import Browser

from tests.browser.conftest import save_picture

NODE = "LoomPromptSchedule"
ADD_NODE = f"""() => {{
  const node = LiteGraph.createNode("{NODE}");
  node.pos = [100, 100];
  app.graph.add(node);
  for (const widget of node.widgets) if (widget.element) widget.value = "0: a cat";
}}"""
BOXES = f"""() => app.graph.nodes.find(node => node.type === "{NODE}").widgets
  .filter(widget => widget.element)
  .map(widget => [widget.name, decodeURIComponent(getComputedStyle(widget.element).backgroundImage)])"""


@pytest.mark.parametrize("language", ["en", "zh"])
def test_filled_boxes_carry_their_names(language: str, browser: Browser, host_server: Server):
    host_server.post("/settings/Comfy.Locale", language)
    try:
        with open_frontend(browser, host_server) as page:
            page.evaluate(ADD_NODE)
            boxes = dict(page.evaluate(BOXES))
            save_picture(page, f"name_boxes_{language}")
    finally:
        host_server.post("/settings/Comfy.Locale", "en")
    assert {name: shown in boxes[name] for name, shown in names(language).items()} == dict.fromkeys(boxes, True)


def names(language: str) -> dict[str, str]:
    boxes = ("text", "prefix", "suffix")
    if language == "en":
        return {box: f">{box}<" for box in boxes}
    texts = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
    return {box: f">{texts[NODE]['inputs'][box]['name']}<" for box in boxes}
