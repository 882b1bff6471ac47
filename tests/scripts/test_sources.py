import subprocess
import sys

import pytest
from host.checkout import PACK, ROOT

FOLDERS = ("nodes", "motion_modules", "sampling", "training", "inspection", "scripts", "tests", "demo")
SOURCES = [ROOT / "__init__.py", *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))]


def test_sources_can_be_read_by_a_tool_with_a_windows_code_page():
    unreadable = []
    for file in SOURCES:
        text = file.read_text(encoding="utf-8")
        try:
            text.encode("cp1252")
        except UnicodeEncodeError as error:
            unreadable.append(f"{file.relative_to(ROOT)}: {text[error.start : error.end]!a}")
    assert not unreadable


@pytest.mark.parametrize("script", ["demo", "new_module", "test"])
def test_a_script_needs_nothing_but_the_standard_library(script: str):
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import {script}; assert {script}._parser()"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_pack_is_one_package_of_relative_imports():
    assert sys.modules[PACK].__path__ == [str(ROOT)]
    assert str(ROOT) not in sys.path[:1]
