import subprocess
import sys

import pytest
from host.checkout import ROOT

SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from host.errors import PromptError, ServerError, SetupError
from host.script import run_as_script

def main():
    {body}

run_as_script(main, ValueError)
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    code = SCRIPT.format(folder=str(ROOT / "scripts"), body=body)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("status", [0, 3])
def test_a_script_ends_with_what_main_returns(status: int):
    assert run(f"return {status}").returncode == status


@pytest.mark.parametrize("error", ["SetupError", "ServerError", "PromptError", "ValueError"])
def test_an_expected_error_is_a_sentence(error: str):
    done = run(f"raise {error}('The host died.')")
    assert (done.returncode, done.stderr) == (1, "The host died.\n")


def test_any_other_error_keeps_its_traceback():
    done = run("raise RuntimeError('unforeseen')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
