"""Which checks `scripts/test.py` runs, and in how many processes, for the arguments it is given."""

import importlib.util
from pathlib import Path

import pytest
from host.checkout import ROOT


def load_script():
    """Load `scripts/test.py`, whose name is also that of a module of the standard library."""
    spec = importlib.util.spec_from_file_location("run_checks", ROOT / "scripts" / "test.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run_checks = load_script()
ONE_FILE = "tests/scripts/test_selection.py"


@pytest.mark.parametrize("arguments", [[], ["-x"], ["-q", "--durations", "5"]])
def test_without_named_tests_everything_runs(arguments: list[str]):
    selection = run_checks.Selection(arguments)
    assert selection.is_everything
    assert selection.needs_browser
    assert not selection.is_small


@pytest.mark.parametrize(
    "arguments",
    [[ONE_FILE], [f"{ONE_FILE}::test_x"], [str(ROOT / ONE_FILE)], ["-k", "x"], ["-kx"], ["tests/scripts", "-k", "x"]],
)
def test_few_tests_run_in_one_process_without_static_checks(arguments: list[str]):
    selection = run_checks.Selection(arguments)
    assert not selection.is_everything
    assert not selection.needs_browser
    assert selection.is_small


def test_a_folder_runs_in_several_processes():
    selection = run_checks.Selection(["tests/scripts"])
    assert not selection.is_everything
    assert not selection.is_small


def test_a_filter_that_has_the_name_of_a_folder_names_no_tests():
    assert run_checks.Selection(["-k", "sampling"]).places == []


def test_another_host_runs_its_own_tests_only():
    selection = run_checks.Selection([], "0.20.1")
    assert not selection.is_everything
    assert not selection.needs_browser


@pytest.mark.parametrize("place", ["tests/browser", "tests/browser/test_building.py"])
def test_browser_tests_need_a_browser(place: str):
    assert run_checks.Selection([place]).needs_browser


def test_static_checks_run_alone_when_asked_for():
    options, arguments = run_checks._parser().parse_known_args(["--static", "--cov"])
    assert options.static
    assert not options.coverage
    assert arguments == ["--cov"]
    assert run_checks._static_checks(Path("python")).keys() == {"lint", "formatting", "types"}
