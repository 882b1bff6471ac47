"""The synthetic weights, made once by the host's own Python and kept beside the hosts."""

from dataclasses import dataclass
from pathlib import Path

from .checkout import ROOT, WEIGHTS
from .processes import run

RECIPE = 1


@dataclass(frozen=True)
class ModelFiles:
    checkpoint: Path
    motion_model: Path


def synthetic_weights(kind: str, python: Path, tree: Path, folder: Path = WEIGHTS) -> ModelFiles:
    """Files of random weights: "sd15" at full size, or "sd15_narrow" and "sdxl_narrow" for quick tests."""
    motion = "sdxl_motion" if kind.startswith("sdxl") else "v3_motion"
    narrow = "_narrow" if kind.endswith("_narrow") else ""
    place = folder / f"recipe-{RECIPE}"
    files = ModelFiles(place / f"synthetic_{kind}.safetensors", place / f"synthetic_{motion}{narrow}.safetensors")
    if not (files.checkpoint.exists() and files.motion_model.exists()):
        places = ["--checkpoint", files.checkpoint, "--motion-model", files.motion_model]
        command = [python, ROOT / "scripts" / "synthetic_weights.py", kind, "--host", tree, *places]
        run(command, "Making synthetic weights")
    return files
