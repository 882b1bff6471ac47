"""The example workflows, made small enough for a CPU, and the videos that they write."""

from pathlib import Path

import av
import numpy
from host.checkout import ROOT
from host.prompts import load_prompt, set_everywhere
from host.server import Prompt

FOLDER = ROOT / "workflows"
FIRST_CLIPS = ("text_to_video", "text_to_video_fast", "text_to_video_sdxl")
LENGTH_IS_IN = {"long_video": "batch_size", "prompt_travel": "value", "controlnet_video": "length"}
NAMES = (*FIRST_CLIPS, *LENGTH_IS_IN, "loop", "custom_module", "inspect_motion")
FRAMES, SIZE = 16, 64
OTHER_LENGTHS = {"loop": 24} | dict.fromkeys(LENGTH_IS_IN, 20)  # more than one window of 16


def small_prompt(name: str, checkpoint: str, motion_model: str, steps: int = 2) -> Prompt:
    """The API twin of a workflow with models of the test, 64 x 64 pixels, few steps and at most 24 frames."""
    prompt = load_prompt(FOLDER / "api" / f"{name}.json")
    set_everywhere(prompt, "ckpt_name", checkpoint)
    set_everywhere(prompt, "motion_model", motion_model)
    for side in ("width", "height"):
        set_everywhere(prompt, side, SIZE)
    set_everywhere(prompt, "steps", steps)
    if name in LENGTH_IS_IN:
        set_everywhere(prompt, LENGTH_IS_IN[name], frames_of(name))
    return prompt


def frames_of(name: str) -> int:
    """The frames that a small prompt makes."""
    return OTHER_LENGTHS.get(name, FRAMES)


def only(prompt: Prompt, class_type: str) -> dict:
    """The inputs of the one node of a class."""
    (found,) = (node["inputs"] for node in prompt.values() if node["class_type"] == class_type)
    return found


def decode(video: Path) -> numpy.ndarray:
    """The frames of a video file, [frames, height, width, 3] in 0 to 255."""
    with av.open(str(video)) as container:
        return numpy.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def frame_rate(video: Path) -> float:
    """The frames per second of a video file."""
    with av.open(str(video)) as container:
        return float(container.streams.video[0].average_rate)
