"""CPU time and memory of this pack's import, its schemas included, as the host's own loader does it at its start."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator

from host.checkout import ROOT

from . import Run
from .measuring import Figure, mebibytes, seconds

AT_MOST = 0.1  # seconds of CPU time
IMPORT = """
import asyncio, json, sys, time
tree, pack, *device = sys.argv[1:]
sys.argv = ["main.py", *device]
sys.path.insert(0, tree)
from comfy.options import enable_args_parsing
enable_args_parsing()
import nodes, psutil
asyncio.run(nodes.init_builtin_extra_nodes())  # the host loads them before custom nodes
process = psutil.Process()
memory, cpu, wall = process.memory_info().rss, time.process_time(), time.perf_counter()
loaded = asyncio.run(nodes.load_custom_node(pack))
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({"loaded": loaded, "cpu": cpu, "wall": wall, "bytes": process.memory_info().rss - memory}))
"""


def figures(run: Run) -> Iterator[Figure]:
    """Import in a fresh process for each repetition, and judge the median of CPU times."""
    starts = [_import_pack(run) for _ in range(run.repetitions)]
    cpu, wall, memory = (statistics.median(start[name] for start in starts) for name in ("cpu", "wall", "bytes"))
    text = f"{seconds(cpu)} of CPU time, {seconds(wall)} by the clock, {mebibytes(memory)} of memory"
    yield Figure(f"import, median of {len(starts)} processes", text, cpu, AT_MOST, {"starts": starts})


def _import_pack(run: Run) -> dict[str, float]:
    device = ["--cpu"] if run.device.type == "cpu" else []
    command = [sys.executable, "-c", IMPORT, str(run.host), str(ROOT), *device]
    result = subprocess.run(command, cwd=run.host, capture_output=True, text=True, encoding="utf-8", check=False)
    lines = result.stdout.splitlines()
    start = json.loads(lines[-1]) if result.returncode == 0 and lines else {}
    if not start.get("loaded"):
        raise RuntimeError(f"The host did not import the pack:\n{(result.stdout + result.stderr)[-3000:]}")
    return start
