"""The host's import of the pack, its schemas included, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "tests" / "support" / "import_alone.py"
OTHER_PACK = ROOT / "tests" / "support" / "other_packs" / "wobble_pack"


def test_no_torch_operation_runs(pytestconfig):
    """An operation would start torch's threads, which takes seconds on a busy machine."""
    result = import_packs(pytestconfig, ROOT)
    assert result["imported"] == [True]
    assert "LoomNewMotionModel" in result["nodes"]
    assert result["operations"] == []


def test_a_module_of_another_pack_is_tried_out_when_it_is_offered(pytestconfig):
    result = import_packs(pytestconfig, OTHER_PACK, ROOT)
    assert "LoomNewMotionModel" in result["nodes"]
    assert result["operations"]


def import_packs(pytestconfig, *packs: Path) -> dict:
    tree = ROOT / ".comfyui" / pytestconfig.getoption("--host-version")
    command = [sys.executable, str(SCRIPT), str(tree), *map(str, packs)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])
