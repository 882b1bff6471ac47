"""Every noise type of Video Noise shows its own inputs, in both renderers, and a video can be connected."""

import json
from collections.abc import Iterator

import pytest
from host.checkout import ROOT
from host.frontend import api_prompt, open_frontend
from host.server import Server
from playwright.sync_api import Browser, Page

from tests.browser.conftest import save_picture

PUBLISHED = ROOT / "tests" / "host" / "published_names.json"
SOCKETS = {"CAMERA_PATH", "IMAGE", "OPTICAL_FLOW"}
ADD_NODES = """names => {
  const nodes = names.map((name, place) => {
    const node = LiteGraph.createNode("LoomVideoNoise");
    node.pos = [100 + 420 * (place % 4), 100 + 420 * Math.floor(place / 4)];
    app.graph.add(node);
    node.widgets.find(widget => widget.name === "noise_type").value = name;
    return node;
  });
  const loader = LiteGraph.createNode("LoadImage");
  loader.pos = [1360, 520];
  app.graph.add(loader);
  const video = nodes[names.indexOf("video")];
  loader.connect(0, video, video.inputs.findIndex(input => input.name === "noise_type.images"));
  return nodes.map(node => node.id);
}"""
SHOWN = """([id, isVue]) => {
  const node = app.graph.getNodeById(id);
  const element = document.querySelector(`[data-node-id="${id}"]`);
  if (isVue && !element) return null;
  const sockets = node.inputs.filter(input => !input.widget).map(input => input.name);
  return [node.widgets.map(widget => widget.name), sockets, isVue ? element.innerText : ""];
}"""


@pytest.fixture(params=[False, True], ids=["classic", "vue"])
def canvas(request: pytest.FixtureRequest, browser: Browser, host_server: Server) -> Iterator[tuple[Page, bool]]:
    host_server.post("/settings/Comfy.VueNodes.Enabled", request.param)
    with open_frontend(browser, host_server) as page:
        yield page, request.param
    host_server.post("/settings/Comfy.VueNodes.Enabled", False)


def test_every_type_shows_its_inputs(canvas: tuple[Page, bool]):
    page, is_vue = canvas
    types = json.loads(PUBLISHED.read_text(encoding="utf-8"))["LoomVideoNoise"]["inputs"]["noise_type"]
    ids = page.evaluate(ADD_NODES, list(types))
    save_picture(page, f"noise_types_{'vue' if is_vue else 'classic'}")
    for node, (name, inputs) in zip(ids, types.items(), strict=True):
        widgets, sockets, text = page.wait_for_function(SHOWN, arg=[node, is_vue]).json_value()
        parts = {f"noise_type.{each}": str(kind) in SOCKETS for each, kind in inputs.items()}
        plain = [each for each, is_socket in parts.items() if not is_socket]
        assert widgets == ["noise_type", *plain, "fresh_noise", "step_noise"], name
        assert set(sockets) == {"model", "noise", *parts} - set(plain), name
        assert not is_vue or all(each in text for each in (*inputs, "fresh_noise", "step_noise")), name
    queued = api_prompt(page)
    video = queued[str(ids[list(types).index("video")])]["inputs"]
    assert queued[video["noise_type.images"][0]]["class_type"] == "LoadImage"
