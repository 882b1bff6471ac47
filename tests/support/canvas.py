"""Hands on the frontend's canvas: nodes are added by double-click and search, and wired by dragging."""

from typing import Any

from playwright.sync_api import Page

SLOT = """([node, output, slot]) => {
  const { ds, canvas } = app.canvas;
  const owner = app.graph.getNodeById(node);
  const slots = output ? owner.outputs : owner.inputs;
  const index = slots.findIndex(found => found.name === slot);
  const [x, y] = output ? owner.getOutputPos(index) : owner.getInputPos(index);
  const frame = canvas.getBoundingClientRect();
  return [(x + ds.offset[0]) * ds.scale + frame.left, (y + ds.offset[1]) * ds.scale + frame.top];
}"""
SET_WIDGET = """([node, name, value]) => {
  const widget = app.graph.getNodeById(node).widgets.find(found => found.name === name);
  widget.value = value;
  widget.callback?.(value);
}"""
NEWEST_NODE = """() => {
  const newest = app.graph.nodes.reduce((one, other) => (Number(one.id) > Number(other.id) ? one : other));
  return !newest.flags.ghost && newest.id;
}"""


def add_node(page: Page, display_name: str, x: float, y: float) -> int:
    """Add a node by its name, at a point of the screen, and return its id."""
    count = page.evaluate("() => app.graph.nodes.length")
    page.mouse.dblclick(x, y)
    page.get_by_role("combobox", name="Add a node").fill(display_name)
    page.get_by_role("option", name=display_name).first.wait_for()
    page.keyboard.press("Enter")
    page.wait_for_function("count => app.graph.nodes.length === count", arg=count + 1)
    page.get_by_role("dialog").wait_for(state="detached")
    page.mouse.move(x + 1, y)
    page.mouse.click(x, y)
    return page.wait_for_function(NEWEST_NODE).json_value()


def connect(page: Page, origin: int, output: str, target: int, name: str) -> None:
    """Drag a link from an output to an input."""
    page.mouse.move(*page.evaluate(SLOT, [origin, True, output]))
    page.mouse.down()
    page.mouse.move(*page.evaluate(SLOT, [target, False, name]), steps=5)
    page.mouse.up()


def set_widgets(page: Page, node: int, values: dict[str, Any]) -> None:
    for name, value in values.items():
        page.evaluate(SET_WIDGET, [node, name, value])
