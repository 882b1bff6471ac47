"""How long the pack takes to import when the host starts, as the host itself lists it, but with all digits."""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from host.checkout import PACK
from host.data_folder import make_data_folder

from . import Run
from .measuring import Figure, seconds

AT_MOST = 0.15
STARTS = 2
MARK = "import seconds of"
LISTENER = f"""
import logging, runpy, sys

def record(*arguments, **keywords):
    message = make(*arguments, **keywords)
    if "seconds" in str(message.msg) and str(message.msg).endswith({PACK!r}):
        caller = sys._getframe(1)
        while caller.f_code.co_name != "init_external_custom_nodes":
            caller = caller.f_back
        print("{MARK}", caller.f_locals["n"][0], caller.f_locals["n"][2], flush=True)
    return message

make = logging.getLogRecordFactory()
logging.setLogRecordFactory(record)
sys.argv = sys.argv[1:]
sys.path.insert(0, str(__import__("pathlib").Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def figures(run: Run) -> Iterator[Figure]:
    if importlib.util.find_spec("comfyui_frontend_package") is None:
        yield Figure("import", "skipped, since what the host's server needs is not installed here")
        return
    with tempfile.TemporaryDirectory() as folder:
        data = make_data_folder(Path(folder))
        times = [_start(run, data) for _ in range(STARTS)]
    text = f"{seconds(min(times))} of {STARTS} starts, slowest {seconds(max(times))}"
    yield Figure("import at the host's start", text, min(times), AT_MOST, {"seconds": times})


def _start(run: Run, data: Path) -> float:
    device = ["--cpu"] if run.device.type == "cpu" else []
    database = f"sqlite:///{(data / 'user' / 'comfyui.db').as_posix()}"
    command = [
        *(sys.executable, "-c", LISTENER, str(run.host / "main.py"), "--quick-test-for-ci", "--disable-api-nodes"),
        *("--base-directory", str(data), "--database-url", database, "--disable-all-custom-nodes"),
        *("--whitelist-custom-nodes", PACK, *device),
    ]
    result = subprocess.run(command, cwd=run.host, capture_output=True, text=True, encoding="utf-8", check=False)
    found = [line.split() for line in result.stdout.splitlines() if line.startswith(MARK)]
    if not found or found[-1][-1] != "True":
        raise RuntimeError(f"The host did not import the pack:\n{(result.stdout + result.stderr)[-3000:]}")
    return float(found[-1][-2])
