"""The reason why a module of another pack is refused stands in the tooltip of the choice, in translations too."""

from collections.abc import Callable

from host.data_folder import link_folder
from host.frontend import open_frontend
from host.server import Server
from playwright.sync_api import Browser, expect

from tests.support.motion_models import OTHER_PACKS

PACK = "shorten_pack"
POINT_AT_CHOICE = """() => {
  const node = LiteGraph.createNode("LoomNewMotionModel");
  node.pos = [400, 300];
  app.graph.add(node);
  const { ds, canvas } = app.canvas;
  [ds.scale, ds.offset] = [1, [0, 0]];
  app.canvas.draw(true, true);
  const frame = canvas.getBoundingClientRect();
  const choice = node.widgets.find(widget => widget.name === "architecture");
  return [node.pos[0] + 60 + frame.left, node.pos[1] + choice.y + 10 + frame.top];
}"""


def test_a_chinese_tooltip_says_why(make_server: Callable[..., Server], browser: Browser):
    server = make_server(other_packs=(PACK,))
    link_folder(OTHER_PACKS / PACK, server.folder / "custom_nodes" / PACK)
    with server:
        server.post("/settings/Comfy.Locale", "zh")
        with open_frontend(browser, server) as page:
            x, y = page.evaluate(POINT_AT_CHOICE)
            page.mouse.move(x - 5, y)
            page.mouse.move(x, y)
            tooltip = page.locator(".node-tooltip")
            expect(tooltip).to_contain_text("\u8fd0\u52a8\u6a21\u5757\u7684\u7ed3\u6784")
            expect(tooltip).to_contain_text(f"The motion module 'shorten' of '{PACK}' turns a feature map of")
