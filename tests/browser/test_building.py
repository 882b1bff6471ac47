"""Build a first graph as a user does: from an empty canvas to a video, with the mouse and the keyboard."""

from collections.abc import Callable
from typing import Any

import pytest
from host.frontend import api_prompt, ui_workflow
from playwright.sync_api import Page

from tests.support.frontend import open_search
from tests.support.server import HostModels
from tests.support.workflows import EXAMPLE_FRAMES, EXAMPLE_SIZE

NODES = {
    "checkpoint": ("Load Checkpoint", "CheckpointLoaderSimple", 300, 200),
    "load": ("Load Motion Model (AnimateDiff)", "LoomLoadMotionModel", 300, 420),
    "info": ("Motion Model Info", "LoomMotionModelInfo", 300, 620),
    "apply": ("Apply Motion Model (AnimateDiff)", "LoomApplyMotionModel", 760, 200),
    "positive": ("CLIP Text Encode (Prompt)", "CLIPTextEncode", 760, 480),
    "negative": ("CLIP Text Encode (Prompt)", "CLIPTextEncode", 760, 760),
    "latent": ("Empty Latent Image", "EmptyLatentImage", 1180, 800),
    "sampler": ("KSampler", "KSampler", 1180, 300),
    "decode": ("VAE Decode", "VAEDecode", 1540, 200),
    "create": ("Create Video", "CreateVideo", 1540, 360),
    "save": ("Save Video", "SaveVideo", 1540, 580),
}
LINKS = [
    ("checkpoint", "MODEL", "apply", "model"),
    ("load", "motion_model", "apply", "motion_model"),
    ("load", "motion_model", "info", "motion_model"),
    ("checkpoint", "CLIP", "positive", "clip"),
    ("checkpoint", "CLIP", "negative", "clip"),
    ("apply", "model", "sampler", "model"),
    ("positive", "CONDITIONING", "sampler", "positive"),
    ("negative", "CONDITIONING", "sampler", "negative"),
    ("latent", "LATENT", "sampler", "latent_image"),
    ("sampler", "LATENT", "decode", "samples"),
    ("checkpoint", "VAE", "decode", "vae"),
    ("decode", "IMAGE", "create", "images"),
    ("create", "VIDEO", "save", "video"),
]
RATE = 8
VIDEO = "() => [...document.querySelectorAll('video')].find(video => video.readyState >= 2)"
IS_ON_NODE = """([node, video]) =>
  app.graph.getNodeById(node).widgets.some(widget => widget.element?.contains(video))"""
SHOWN = "node => app.graph.getNodeById(node).widgets?.find(widget => widget.name === 'shown_text')?.element.value"

SLOT = """([node, output, slot]) => {
  const { ds, canvas } = app.canvas;
  const owner = app.graph.getNodeById(node);
  const slots = output ? owner.outputs : owner.inputs;
  const index = slots.findIndex(candidate => candidate.name === slot);
  const [x, y] = output ? owner.getOutputPos(index) : owner.getInputPos(index);
  const frame = canvas.getBoundingClientRect();
  return [(x + ds.offset[0]) * ds.scale + frame.left, (y + ds.offset[1]) * ds.scale + frame.top];
}"""
SET_WIDGET = """([node, name, value]) => {
  const widget = app.graph.getNodeById(node).widgets.find(each => each.name === name);
  widget.value = value;
  widget.callback?.(value);
}"""
NEWEST_NODE = """() => {
  const newest = app.graph.nodes.reduce((one, other) => (Number(one.id) > Number(other.id) ? one : other));
  return !newest.flags.ghost && newest.id;
}"""


@pytest.mark.timeout(600)
def test_first_graph(page: Page, sd15_models: HostModels, keep_picture: Callable[[str], None]):
    ids = {key: add_node(page, name, x, y) for key, (name, _, x, y) in NODES.items()}
    for origin, output, target, name in LINKS:
        connect(page, ids[origin], output, ids[target], name)
    set_widgets(page, ids["checkpoint"], {"ckpt_name": sd15_models.checkpoint})
    set_widgets(page, ids["load"], {"motion_model": sd15_models.motion_model})
    set_widgets(page, ids["latent"], {"width": EXAMPLE_SIZE, "height": EXAMPLE_SIZE, "batch_size": EXAMPLE_FRAMES})
    set_widgets(page, ids["sampler"], {"steps": 1})
    set_widgets(page, ids["create"], {"fps": RATE})
    keep_picture("built_by_hand")
    assert_wired(page, ids)

    page.get_by_test_id("queue-button").click()
    video = page.wait_for_function(VIDEO).as_element()
    keep_picture("built_and_run")

    assert page.evaluate(IS_ON_NODE, [ids["save"], video])
    assert video.evaluate("video => [video.videoWidth, video.videoHeight]") == [EXAMPLE_SIZE, EXAMPLE_SIZE]
    assert round(video.evaluate("video => video.duration") * RATE) == EXAMPLE_FRAMES
    assert_text_shown(page, ids["info"])


def assert_wired(page: Page, ids: dict[str, int]) -> None:
    prompt = api_prompt(page)
    assert {key: prompt[str(node)]["class_type"] for key, node in ids.items()} == {
        key: class_type for key, (_, class_type, _, _) in NODES.items()
    }
    for origin, _, target, name in LINKS:
        assert prompt[str(ids[target])]["inputs"][name][0] == str(ids[origin])


def assert_text_shown(page: Page, info: int) -> None:
    """The text is on the node, and in neither the prompt nor the saved workflow."""
    shown = page.evaluate(SHOWN, info)
    assert "family: AnimateDiff v3" in shown and "frames: trained for 16" in shown
    assert api_prompt(page)[str(info)]["inputs"].keys() == {"motion_model"}
    assert "AnimateDiff v3" not in str(ui_workflow(page))


def add_node(page: Page, display_name: str, x: float, y: float) -> int:
    """Add a node by its name, at a point of the screen, and return its id."""
    count = page.evaluate("() => app.graph.nodes.length")
    open_search(page, x, y).fill(display_name)
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
