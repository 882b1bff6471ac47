"""`scripts/demo.py --open` puts the graph of Loom Mini before the user, and ends with Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from host.checkout import ROOT
from host.frontend import FIRST_WORKFLOW_IS_OPEN, PATIENCE
from playwright.sync_api import Browser

INTERRUPT = signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGINT
IS_ON_CANVAS = "() => app.graph.nodes.some(node => node.type === 'LoomMiniLoader')"
UNKNOWN_NODES = "() => app.graph.nodes.filter(n => !LiteGraph.registered_node_types[n.type]).map(n => n.type)"


@pytest.fixture
def demo(tmp_path: Path, tree: Path):
    """The running demo, whose browser is a program that writes the address to the file `address`."""
    browser = tmp_path / "browser.py"
    browser.write_text(f"import pathlib, sys\npathlib.Path({str(tmp_path / 'address')!r}).write_text(sys.argv[1])")
    host = ["--comfyui", tree, "--python", sys.executable, "--cpu", "--folder", tmp_path]
    command = [str(part) for part in (sys.executable, ROOT / "scripts" / "demo.py", "--open", *host)]
    environment = os.environ | {"DISPLAY": ":0", "BROWSER": f"{sys.executable} {browser} %s"}
    group = subprocess.CREATE_NEW_PROCESS_GROUP if os.name == "nt" else 0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, creationflags=group)
    yield process
    process.kill()
    process.wait()


def test_the_graph_is_on_the_canvas_until_an_interrupt(demo: subprocess.Popen[str], tmp_path: Path, browser: Browser):
    line = next(line for line in demo.stdout if "in the browser: " in line or "in a browser: " in line)
    address = line.split()[-1]
    assert (tmp_path / "address").read_text() == address
    page = browser.new_page(locale="en-US")
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_function(FIRST_WORKFLOW_IS_OPEN)
    page.wait_for_function(IS_ON_CANVAS)
    assert page.evaluate(UNKNOWN_NODES) == []
    (ROOT / "artefacts").mkdir(exist_ok=True)
    page.screenshot(path=ROOT / "artefacts" / "demo_open.png")
    page.close()

    family = [psutil.Process(demo.pid), *psutil.Process(demo.pid).children(recursive=True)]
    demo.send_signal(INTERRUPT)
    assert demo.communicate(timeout=60)[0].endswith("Ending ComfyUI.\n")
    assert demo.returncode == 0
    assert not psutil.wait_procs(family, timeout=10)[1]
