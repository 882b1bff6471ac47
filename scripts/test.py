"""Run everything that has to hold: lint, formatting, types and all tests. Needs Python 3.10 and a package index.

Arguments it does not know go to pytest: `python scripts/test.py tests/sampling -k windows`.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from host.browser import provide_browser
from host.checkout import ROOT
from host.environment import make_test_environment
from host.processes import Command, status_of
from host.releases import NEWEST, SUPPORTED, host_tree
from host.script import run_as_script


def main() -> int:
    options, pytest_arguments = _parser().parse_known_args()
    python = make_test_environment()
    host_tree(options.host or NEWEST, python=python)
    provide_browser()
    checks = {} if options.host else _static_checks(python)
    failed = [name for name, command in checks.items() if not _passes(name, command)]
    tests = _pytest(python, options, pytest_arguments)
    failed += [] if _passes("tests", tests) else ["tests"]
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", choices=SUPPORTED, help="run the server tests, and only these, in this ComfyUI")
    parser.add_argument("--require-browser", action="store_true", help="no browser is a failure, not a reason to skip")
    parser.add_argument("--coverage", action="store_true", help="also list the lines of the pack that no test ran")
    return parser


def _static_checks(python: Path) -> dict[str, Command]:
    return {
        "lint": [python, "-m", "ruff", "check", "."],
        "formatting": [python, "-m", "ruff", "format", "--check", "."],
        "types": [python, "-m", "basedpyright"],
    }


def _pytest(python: Path, options: argparse.Namespace, arguments: list[str]) -> Command:
    own = ["--host-version", options.host or NEWEST] + ["--require-browser"] * options.require_browser
    own += ["--cov", "--cov-report=term"] * options.coverage
    where = ["tests/host"] if options.host and not any(argument.startswith("tests") for argument in arguments) else []
    return [python, "-m", "pytest", *own, *_in_parallel(), *where, *arguments]


def _in_parallel() -> list[str]:
    """A process for each of the first four cores; the tests of one file share their models, so they stay together."""
    return ["-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile"]


def _passes(name: str, command: Command) -> bool:
    print(f"\n== {name}", flush=True)
    start = time.monotonic()
    passed = status_of(command, cwd=ROOT) == 0
    print(f"== {name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - start:.0f} s", flush=True)
    return passed


if __name__ == "__main__":
    run_as_script(main)
