"""The order in which test files start, and which of them share a process when several processes run tests."""

import pytest
from xdist.scheduler import LoadFileScheduling

SLOW = ("tests/browser/", "tests/scripts/test_demo.py", "tests/host/", "tests/demo/", "tests/test_guide.py")
IN_ONE_PROCESS = "tests/browser/"  # so that one server and one browser serve all of its files


class FileScheduling(LoadFileScheduling):
    """Keep the tests of a file in one process, and those of all browser tests too."""

    def _split_scope(self, nodeid: str) -> str:
        return IN_ONE_PROCESS if nodeid.startswith(IN_ONE_PROCESS) else super()._split_scope(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start slow files first, so that no process still runs one when the others are done."""
    items.sort(key=lambda item: _rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log) -> FileScheduling | None:
    return FileScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def _rank(nodeid: str) -> int:
    return next((rank for rank, start in enumerate(SLOW) if nodeid.startswith(start)), len(SLOW))
