"""Loom Mini, the tiny model under demo/ that really moves: the demo's own checkpoint and motion model."""

from pathlib import Path

from .checkout import LOOM_MINI, ROOT
from .data_folder import link_folder, place_model
from .server import Prompt

FOLDER = ROOT / "demo" / LOOM_MINI
CHECKPOINT, MOTION_MODEL = FOLDER / "loom_mini.safetensors", FOLDER / "loom_mini_motion.safetensors"
WORKFLOW = FOLDER / "text_to_video.json"
LOADER = "LoomMiniLoader"


def is_there() -> bool:
    """Return whether this checkout has the trained weights."""
    return CHECKPOINT.is_file() and MOTION_MODEL.is_file()


def is_in(prompt: Prompt) -> bool:
    """Return whether a workflow loads it."""
    return any(node["class_type"] == LOADER for node in prompt.values())


def install(folder: Path) -> None:
    """Let the host that works in `folder` load Loom Mini; before the host starts."""
    link_folder(FOLDER, folder / "custom_nodes" / LOOM_MINI)
    place_model(MOTION_MODEL, folder, "animatediff_models")
