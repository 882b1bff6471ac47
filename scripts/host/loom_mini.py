"""Loom Mini, the small model of the pack that really moves, and the demo's workflow with it."""

from pathlib import Path

from .checkout import ROOT
from .data_folder import place_model
from .server import Prompt

FOLDER = ROOT / "demo" / "loom_mini"
CHECKPOINT, MOTION_MODEL = FOLDER / "loom_mini.safetensors", FOLDER / "loom_mini_motion.safetensors"
UP_LORA = FOLDER / "motion_loras" / "loom_mini_up.safetensors"
WORKFLOW = FOLDER / "text_to_video.json"
TEMPLATE = ROOT / "workflows" / "animatediff_01_first_clip_no_download.json"
LOADER = "LoomMiniLoader"


def is_there() -> bool:
    """Return whether this checkout has the trained weights."""
    return CHECKPOINT.is_file() and MOTION_MODEL.is_file()


def is_in(prompt: Prompt) -> bool:
    """Return whether a workflow loads it."""
    return any(node["class_type"] == LOADER for node in prompt.values())


def install(folder: Path) -> None:
    """Let Load Motion Model of the host that works in `folder` list the motion model of Loom Mini."""
    place_model(MOTION_MODEL, folder, "animatediff_models")
