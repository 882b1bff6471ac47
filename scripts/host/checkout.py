"""Where things are: the checkout, its environment and its hosts."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
HOSTS = ROOT / ".comfyui"
WEIGHTS = HOSTS / "weights"
PACK = "animatediff_loom"


def python_in(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
