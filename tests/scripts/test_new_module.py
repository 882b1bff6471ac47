"""Files made by scripts/new_module.py pass all checks unchanged, in a copy of the checkout."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from animatediff_loom.motion_modules.architectures.architecture import PARTS_OF_DIFFUSERS
from host.checkout import HOSTS, ROOT, VENV
from host.data_folder import link_folder
from new_module import LISTS, LONGEST, MADE, PUBLISHED

from tests.support.texts import check_sentence

SHORT, LONG = "my_mixer", LONGEST * "m"
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "artefacts")
TESTS = [
    *(MADE["test.py.txt"].format(name) for name in (SHORT, LONG)),
    "tests/motion_modules/architectures/test_architectures.py",
    "tests/training/test_gradients.py",
    "tests/motion_modules/files/test_untrained.py::test_every_registered_architecture_is_offered_with_what_it_needs",
    "tests/test_architecture_pages.py",
    "tests/test_docs.py",
    "tests/host/test_published_names.py",
]
TOUCHED = f"{SHORT} or test_{LONG} or offered or LoomNewMotionModel or test_no_page or has_gone or written_down"
REFUSED = {
    "capitals": ("MyMixer", "'MyMixer'", "lower-case"),
    "path": ("../mixer", "'../mixer'", "lower-case"),
    "keyword": ("lambda", "'lambda'", "cannot be a key"),
    "long": ((LONGEST + 1) * "m", f"{LONGEST + 1} letters", f"{LONGEST}"),
    "class": ("motion_inputs", "MotionInputs", "something else"),
    "builtin": ("none", "None", "something else"),
    "file": (SHORT, f"motion_modules/architectures/{SHORT}.py is there already"),
    "test": ("architectures", "tests/motion_modules/architectures/test_architectures.py is there already"),
    "guide": ("drift", "'drift'", "use already"),
    "tests": ("wobble", "'wobble'", "use already"),
    **{f"diffusers {key}": (key, f"'{key}'", "cannot be a key") for key in PARTS_OF_DIFFUSERS},
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8")


def new_module(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As any Python runs it, without the packages that are installed."""
    return run(folder, "-E", "-S", "scripts/new_module.py", *arguments)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which a short and a long name were made."""
    folder = tmp_path_factory.mktemp("checkout") / "loom"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    link_folder(VENV, folder / VENV.name)
    link_folder(HOSTS, folder / HOSTS.name)
    for name in (SHORT, LONG):
        done = new_module(folder, name)
        assert done.returncode == 0, done.stderr
        assert all(pattern.format(name) in done.stdout for pattern in MADE.values())
    return folder


@pytest.mark.parametrize("check", (["ruff", "check"], ["ruff", "format", "--check"], ["basedpyright"]), ids=" ".join)
def test_what_is_made_passes_the_static_checks(copy: Path, check: list[str]):
    new_files = [MADE[template].format(name) for name in (SHORT, LONG) for template in ("module.py.txt", "test.py.txt")]
    files = new_files if check[0] == "ruff" else [file for file in new_files if not file.startswith("tests")]
    done = run(copy, "-m", *check, *files)
    assert done.returncode == 0, done.stdout


def test_what_is_made_passes_its_tests_and_those_of_all_architectures(copy: Path):
    done = run(copy, "-m", "pytest", "-p", "no:cacheprovider", "-k", TOUCHED, *TESTS)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("case", REFUSED)
def test_a_name_that_cannot_be_is_refused(copy: Path, case: str):
    name, *parts = REFUSED[case]
    done = new_module(copy, name)
    assert done.returncode == 1
    check_sentence(done.stderr.strip(), *parts)


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path):
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=LEFT_OUT)
    done = new_module(tmp_path, SHORT)
    assert done.returncode == 1
    check_sentence(done.stderr.strip(), "no checkout", "web/docs/LoomNewMotionModel/en.md")
    assert [file.name for file in tmp_path.iterdir()] == ["scripts"]


def test_what_was_made_is_taken_back(copy: Path):
    """Runs last. A changed file is deleted only with --force."""
    assert new_module(copy, LONG, "--remove").returncode == 0
    changed = copy / MADE["module.py.txt"].format(SHORT)
    changed.write_text("# my work\n", encoding="utf-8")
    refused = new_module(copy, SHORT, "--remove")
    assert refused.returncode == 1 and changed.exists()
    check_sentence(refused.stderr.strip(), changed.name, "--force")
    assert new_module(copy, SHORT, "--remove", "--force").returncode == 0
    assert not [name for name in (SHORT, LONG) for pattern in MADE.values() if (copy / pattern.format(name)).exists()]
    for path in (*LISTS.values(), PUBLISHED):
        assert (copy / path).read_bytes() == (ROOT / path).read_bytes()
    check_sentence(new_module(copy, SHORT, "--remove").stderr.strip(), SHORT, "check the name")
