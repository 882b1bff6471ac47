"""The example workflows, made small enough for a CPU, and the videos that they write."""

from pathlib import Path

import av
import numpy
from host.checkout import ROOT
from host.prompts import load_prompt, set_everywhere
from host.server import Prompt

FOLDER = ROOT / "workflows"
NAMES = ("text_to_video", "text_to_video_fast", "text_to_video_sdxl")
FRAMES, SIZE = 16, 64


def small_prompt(name: str, checkpoint: str, motion_model: str, steps: int = 2) -> Prompt:
    """The API twin of a workflow with models of the test, 64 x 64 pixels and few steps."""
    prompt = load_prompt(FOLDER / "api" / f"{name}.json")
    set_everywhere(prompt, "ckpt_name", checkpoint)
    set_everywhere(prompt, "motion_model", motion_model)
    for side in ("width", "height"):
        set_everywhere(prompt, side, SIZE)
    set_everywhere(prompt, "steps", steps)
    return prompt


def only(prompt: Prompt, class_type: str) -> dict:
    """The inputs of the one node of a class."""
    (found,) = (node["inputs"] for node in prompt.values() if node["class_type"] == class_type)
    return found


def decode(video: Path) -> numpy.ndarray:
    """The frames of a video file, [frames, height, width, 3] in 0 to 255."""
    with av.open(str(video)) as container:
        return numpy.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
