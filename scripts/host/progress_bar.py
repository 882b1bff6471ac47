"""A progress bar on one line of a terminal, or a line per step where the output goes elsewhere."""

import sys
import time

from .server import Progress

WIDTH = 30


class ProgressBar:
    def __init__(self) -> None:
        self._start = time.monotonic()
        self._in_place = sys.stdout.isatty()
        self._shown = ""

    def __call__(self, progress: Progress) -> None:
        line = f"{progress.class_type:<24} {self._bar(progress)}"
        if line != self._shown:
            elapsed = time.monotonic() - self._start
            end = "" if self._in_place else "\n"
            print(f"\r{line} {elapsed:6.1f} s" if self._in_place else f"{line} {elapsed:6.1f} s", end=end, flush=True)
            self._shown = line

    def close(self) -> None:
        if self._in_place and self._shown:
            print(flush=True)

    @staticmethod
    def _bar(progress: Progress) -> str:
        if not progress.maximum:
            return " " * (WIDTH + 10)
        done = WIDTH * progress.value // progress.maximum
        return f"[{'#' * done}{'.' * (WIDTH - done)}] {f'{progress.value}/{progress.maximum}':<7}"
