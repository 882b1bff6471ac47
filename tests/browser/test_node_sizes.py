"""Nodes with texts and pictures show all of them at the size that they get, in both renderers."""

from collections.abc import Iterator

import pytest
from host.frontend import open_frontend
from host.server import Server
from playwright.sync_api import Browser, Page

LARGE_ENOUGH = 460  # pixels of a picture whose labels are to be read
ADD_NODES = """() => {
  const [loader, info, preview] = ["LoomMiniLoader", "LoomMotionModelInfo", "LoomContextPreview"].map((type, place) => {
    const node = LiteGraph.createNode(type);
    node.pos = [100 + 500 * place, 200];
    app.graph.add(node);
    return node;
  });
  loader.connect(3, info, 0);
  [app.canvas.ds.scale, app.canvas.ds.offset] = [1, [0, 0]];
  return [info.id, preview.id];
}"""
HIDDEN_LINES = """([info]) => {
  const node = app.graph.getNodeById(info);
  const inside = document.querySelector(`[data-node-id="${info}"] textarea`);
  const box = inside ?? node.widgets.find(widget => widget.name === "shown_text").element;
  return box.value && box.clientHeight ? [box.scrollHeight - box.clientHeight] : null;
}"""
PICTURE_WIDTH = """([, preview]) => {
  const shown = document.querySelector(`[data-node-id="${preview}"] img`);
  if (shown) return shown.naturalWidth && shown.getBoundingClientRect().width;
  const node = app.graph.getNodeById(preview);
  const [picture] = node.imgs ?? [];
  const room = node.size[1] - (node.widgets.at(-1).last_y + 20);
  return picture?.naturalWidth && Math.min(node.size[0], (room * picture.naturalWidth) / picture.naturalHeight);
}"""


@pytest.fixture(params=[False, True], ids=["classic", "vue"])
def canvas(request: pytest.FixtureRequest, browser: Browser, host_server: Server) -> Iterator[Page]:
    host_server.post("/settings/Comfy.VueNodes.Enabled", request.param)
    with open_frontend(browser, host_server) as page:
        yield page
    host_server.post("/settings/Comfy.VueNodes.Enabled", False)


def test_text_and_picture_have_room(canvas: Page):
    nodes = canvas.evaluate(ADD_NODES)
    canvas.get_by_test_id("queue-button").click()
    assert canvas.wait_for_function(HIDDEN_LINES, arg=nodes).json_value()[0] <= 0
    assert canvas.wait_for_function(PICTURE_WIDTH, arg=nodes).json_value() >= LARGE_ENOUGH
