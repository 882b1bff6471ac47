"""A Chromium for the browser tests: found where the system keeps it, installed where that is safe."""

import os
import shutil
import sys
from pathlib import Path

from .processes import status_of

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
MAC_APPS = ("Chromium", "Google Chrome", "Microsoft Edge")
WINDOWS_PROGRAMS = ("Google/Chrome/Application/chrome.exe", "Microsoft/Edge/Application/msedge.exe")
ADVICE = "No Chromium or Chrome was found, so the browser tests cannot run; install one with your system's packages."


def find_browser() -> Path | None:
    """The system's Chromium, Chrome or Edge."""
    commands = (shutil.which(command) for command in COMMANDS)
    return next((Path(path) for path in (*commands, *_usual_places()) if path and Path(path).is_file()), None)


def provide_browser() -> Path | None:
    """A browser, installed first where this runs as root on Debian; elsewhere a sentence says what to do."""
    if find_browser() is None and _may_use_apt():
        print("Installing Debian's chromium ...", flush=True)
        status_of(["apt-get", "update"])
        status_of(["apt-get", "install", "--yes", "--no-install-recommends", "chromium"])
    browser = find_browser()
    if browser is None:
        print(f"{ADVICE} (On Debian, as root: apt-get install chromium)", flush=True)
    return browser


def _may_use_apt() -> bool:
    release = Path("/etc/os-release")
    is_debian = release.is_file() and "ID=debian" in release.read_text(encoding="utf-8").splitlines()
    return is_debian and os.geteuid() == 0 and shutil.which("apt-get") is not None


def _usual_places() -> list[Path]:
    if sys.platform == "darwin":
        return [Path(f"/Applications/{app}.app/Contents/MacOS/{app}") for app in MAC_APPS]
    roots = (os.environ.get(name) for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"))
    return [Path(root) / program for root in roots if root for program in WINDOWS_PROGRAMS]
