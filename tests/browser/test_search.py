"""The frontend's node search finds the nodes by the words that users of either language type."""

import json

import pytest
from animatediff_loom.nodes import NODES
from host.checkout import ROOT
from host.frontend import open_frontend
from host.server import Server
from playwright.sync_api import Browser, Page, expect

from tests.support.frontend import open_search

LOAD, APPLY = "LoomLoadMotionModel", "LoomApplyMotionModel"
WINDOWS, PROMPTS = "LoomContextWindows", "LoomPromptSchedule"
BOTH = ["AnimateDiff Evolved", "Hotshot-XL", "AnimateDiff Lightning", "AnimateLCM", "ADE"]
BOTH_IN_CHINESE = ["\u52a8\u753b", "\u6587\u751f\u89c6\u9891", "\u8fd0\u52a8\u6a21\u578b"]
SEARCHES = [
    *((words, node) for words in [*BOTH, *BOTH_IN_CHINESE] for node in (LOAD, APPLY)),
    *((words, APPLY) for words in ("beta schedule", "multival", "gif", "vid2vid")),
    *((words, WINDOWS) for words in ("long video", "\u957f\u89c6\u9891", "\u5faa\u73af\u89c6\u9891")),
    *((words, PROMPTS) for words in ("keyframe", "prompt travel", "\u63d0\u793a\u8bcd\u65c5\u884c")),
]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_search_lists_the_nodes(language: str, browser: Browser, host_server: Server):
    titles = display_names(language)
    host_server.post("/settings/Comfy.Locale", language)
    try:
        with open_frontend(browser, host_server) as page:
            search = open_search(page, 600, 500)
            search.fill("animatediff")
            expect_first(page, titles[LOAD], titles[APPLY])
            for words, node in SEARCHES:
                search.fill(words)
                expect(page.get_by_role("option").filter(has_text=titles[node]), words).to_have_count(1)
    finally:
        host_server.post("/settings/Comfy.Locale", "en")


def expect_first(page: Page, *titles: str) -> None:
    for index, title in enumerate(titles):
        expect(page.get_by_role("option").nth(index)).to_contain_text(title)


def display_names(language: str) -> dict[str, str]:
    schemas = [node.GET_SCHEMA() for node in NODES]
    if language == "en":
        return {schema.node_id: schema.display_name for schema in schemas}
    texts = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
    return {schema.node_id: texts[schema.node_id]["display_name"] for schema in schemas}
