"""Clips that Loom Mini makes in the real server, as pictures without loss."""

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

import numpy
import torch
from host import loom_mini
from host.prompts import load_prompt, set_everywhere, set_positive_prompt
from host.server import Prompt, Server
from loom_mini.captions import plain_caption
from loom_mini.measures import ClipReading, read_clip
from loom_mini.world import Combination
from PIL import Image

STEPS = 12


def mini_prompt(text: str, seed: int = 1, steps: int = STEPS, **inputs) -> Prompt:
    """The demo's own workflow with pictures instead of a video; `inputs` are set wherever they occur."""
    prompt = load_prompt(loom_mini.WORKFLOW)
    pictures = next(node["inputs"]["image"] for node in prompt.values() if node["class_type"] == "ImageScaleBy")
    shown = {"ImageScaleBy", "CreateVideo", "SaveVideo"}
    prompt = {number: node for number, node in prompt.items() if node["class_type"] not in shown}
    prompt["pictures"] = {
        "class_type": "SaveImage",
        "inputs": {"images": deepcopy(pictures), "filename_prefix": "loom_mini"},
    }
    set_positive_prompt(prompt, text)
    for name, value in {"seed": seed, "steps": steps, **inputs}.items():
        set_everywhere(prompt, name, value)
    return prompt


def pictures(server: Server, prompt: Prompt) -> torch.Tensor:
    """The frames that a prompt makes, as `read` gives them."""
    return read(server.files(server.run(prompt)))


def read(files: Iterable[Path]) -> torch.Tensor:
    """Pictures `[frames, 3, height, width]` in 0 to 1."""
    frames = numpy.stack([numpy.asarray(Image.open(file).convert("RGB")) for file in files])
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


def film(server: Server, text: str, seed: int = 1, **inputs) -> ClipReading:
    """What a clip of a prompt shows."""
    return read_clip(pictures(server, mini_prompt(text, seed, **inputs)))


def film_all(server: Server, asked: Iterable[Combination], seed: int, **inputs) -> list[ClipReading]:
    return [film(server, plain_caption(*combination), seed, **inputs) for combination in asked]
