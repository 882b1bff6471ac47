"""Run everything that must hold: lint, formatting, types and all tests. Needs Python 3.10 and a package index.

Other arguments go to pytest: `python scripts/test.py tests/sampling -k windows` runs these tests at
once, without lint, formatting and types.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from host.browser import provide_browser
from host.checkout import ROOT
from host.environment import make_test_environment
from host.processes import Command, status_of
from host.releases import NEWEST, SUPPORTED, host_tree
from host.script import run_as_script

TESTS = ROOT / "tests"
FEW_FILES = 3  # that one process finishes before several have started
MOST_PROCESSES = 4


def main() -> int:
    options, arguments = _parser().parse_known_args()
    selection = Selection(arguments, options.host)
    python = make_test_environment()
    host_tree(options.host or NEWEST, python=python)
    if selection.needs_browser:
        provide_browser()
    checks = _static_checks(python) if options.static or selection.is_everything else {}
    if not options.static or selection.places:
        checks["tests"] = _pytest(python, options, selection)
    failed = [name for name, command in checks.items() if not _passes(name, command)]
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--static", action="store_true", help="run lint, formatting and types, and only tests named")
    parser.add_argument("--host", choices=SUPPORTED, help="run only the tests with a server, in this ComfyUI")
    parser.add_argument("--require-browser", action="store_true", help="fail without a browser instead of skipping")
    parser.add_argument("--coverage", action="store_true", help="list the lines of the pack that no test runs")
    return parser


@dataclass(frozen=True)
class Selection:
    """The tests that pytest's `arguments` and the version in `--host` select."""

    arguments: Sequence[str]
    host: str | None = None

    @property
    def places(self) -> list[Path]:
        """Files and folders of tests that were named."""
        paths = [ROOT / argument.partition("::")[0] for argument in self.arguments]
        return [path for path in paths if path.is_relative_to(TESTS)]

    @property
    def has_filter(self) -> bool:
        return any(argument.startswith(("-k", "-m", "--lf", "--last-failed")) for argument in self.arguments)

    @property
    def is_everything(self) -> bool:
        return not (self.places or self.has_filter or self.host)

    @property
    def is_small(self) -> bool:
        files = [place for place in self.places if place.is_file()]
        return self.has_filter or (0 < len(self.places) <= FEW_FILES and files == self.places)

    @property
    def needs_browser(self) -> bool:
        return self.is_everything or any(place.is_relative_to(TESTS / "browser") for place in self.places)


def _static_checks(python: Path) -> dict[str, Command]:
    return {
        "lint": [python, "-m", "ruff", "check", "."],
        "formatting": [python, "-m", "ruff", "format", "--check", "."],
        "types": [python, "-m", "basedpyright"],
    }


def _pytest(python: Path, options: argparse.Namespace, selection: Selection) -> Command:
    command = [python, "-m", "pytest", "--host-version", options.host or NEWEST]
    command += ["--require-browser"] * options.require_browser
    command += ["--cov", "--cov-report=term"] * options.coverage
    command += [] if selection.is_small else _split_among_processes()
    command += ["tests/host"] if options.host and not selection.places else []
    return [*command, *selection.arguments]


def _split_among_processes() -> list[str]:
    """A process per core; the tests of one file share their models, so they stay in one process."""
    processes = min(os.cpu_count() or 1, MOST_PROCESSES)
    return ["-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "20"]


def _passes(name: str, command: Command) -> bool:
    print(f"\n== {name}", flush=True)
    start = time.monotonic()
    passed = status_of(command, cwd=ROOT) == 0
    print(f"== {name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - start:.0f} s", flush=True)
    return passed


if __name__ == "__main__":
    run_as_script(main)
