"""Child processes that never outlive the script that started them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

from .errors import SetupError

Command = Sequence[str | Path]
NEW_GROUP = 0x200
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # the last is Ctrl-Break, on Windows only
INTERRUPTS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


def start(
    command: Command, *, cwd: Path | None = None, env: dict[str, str] | None = None, output: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process at the head of a group of its own, so that `stop` reaches everything it starts."""
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        creationflags=NEW_GROUP if os.name == "nt" else 0,
        start_new_session=os.name != "nt",
    )


def stop(process: subprocess.Popen[bytes], grace: float = 5.0) -> None:
    """End a process and everything that it started."""
    if os.name == "nt":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False)
        process.wait()
        return
    for way in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, way)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)


def status_of(command: Command, *, cwd: Path | None = None, env: dict[str, str] | None = None) -> int:
    """Run a command to its end, showing what it prints, and return its exit status."""
    process = None
    try:
        with defer_interrupts():
            process = start(command, cwd=cwd, env=env)
        return process.wait()
    finally:
        if process and process.poll() is None:
            stop(process)


def hand_over(command: Command) -> int:
    """Let a command take the place of this process. On Windows, run it and return its exit status."""
    sys.stdout.flush()
    arguments = [str(part) for part in command]
    if os.name != "nt":
        os.execv(arguments[0], arguments)
    return status_of(arguments)


def run(command: Command, purpose: str, *, cwd: Path | None = None) -> None:
    """Run a command that has to succeed; `purpose` names it in the error."""
    status = status_of(command, cwd=cwd)
    if status:
        raise SetupError(f"{purpose} failed with exit status {status}; what went wrong is printed above.")


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Hold back Ctrl-C and its kin inside the context, so that a process just started is known to whoever stops it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: pending.append(number)) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in pending:
        signal.raise_signal(number)


def end_cleanly_on_signals() -> None:
    """Let a termination signal unwind the script like Ctrl-C does, so that its processes are stopped."""
    for number in INTERRUPTS:
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
