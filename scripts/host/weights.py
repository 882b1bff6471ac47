"""The synthetic weights, made once by the host's own Python and kept beside the hosts."""

from dataclasses import dataclass
from pathlib import Path

from .checkout import ROOT, WEIGHTS
from .processes import run

RECIPE = 1
NOISE = "Without both --checkpoint and --motion-model the weights are random: the video will be noise."


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


def complete_pair(
    checkpoint: Path | None, motion_model: Path | None, python: Path, tree: Path, folder: Path = WEIGHTS
) -> ModelFiles:
    """Two model files; where one was not given, synthetic weights of full size take its place, and this says so."""
    if checkpoint and motion_model:
        return ModelFiles(checkpoint, motion_model)
    print(NOISE, flush=True)
    synthetic = synthetic_weights("sd15", python, tree, folder)
    return ModelFiles(checkpoint or synthetic.checkpoint, motion_model or synthetic.motion_model)
