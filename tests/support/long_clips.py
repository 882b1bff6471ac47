"""Clips longer than a context window, by Loom Mini in the real server; prompts are put together node by node."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from host.server import Prompt, Server
from safetensors.torch import load_file

from tests.support.example_workflows import only
from tests.support.filming import mini_prompt

TEXT = "a red circle moving right"
FRAMES, POSITIONS, SIDE = 33, 32, 64  # more frames than Loom Mini has positions for: undivided they are refused
WINDOWS = {"context_length": 18, "context_overlap": 3, "schedule": "static", "fuse": "pyramid"}
BLACK, WHITE = 0x000000, 0xFFFFFF
LEFT, RIGHT = 0, SIDE // 2

Link = list[Any]


def add(prompt: Prompt, class_type: str, **inputs) -> Link:
    """Put one more node into `prompt`; returns the link to its first output."""
    key = f"{class_type} {len(prompt)}"
    prompt[key] = {"class_type": class_type, "inputs": inputs}
    return [key, 0]


def long_prompt(text: str = TEXT, steps: int = 2, frames: int = FRAMES, **inputs) -> Prompt:
    return mini_prompt(text, steps=steps, batch_size=frames, **inputs)


def sampler_of(prompt: Prompt) -> dict[str, Any]:
    return only(prompt, "KSampler")


def clip_of(prompt: Prompt) -> Link:
    """The text encoder of a prompt."""
    return next(node["inputs"]["clip"] for node in prompt.values() if node["class_type"] == "CLIPTextEncode")


def on_model(prompt: Prompt, class_type: str, **inputs) -> Prompt:
    """The same prompt with one more node on the model of its sampler."""
    prompt = deepcopy(prompt)
    sampler = sampler_of(prompt)
    sampler["model"] = add(prompt, class_type, model=sampler["model"], **inputs)
    return prompt


def windowed(prompt: Prompt, **settings) -> Prompt:
    return on_model(prompt, "LoomContextWindows", **(WINDOWS | settings))


def guided(prompt: Prompt, guider: str, **inputs) -> Prompt:
    """The same prompt with SamplerCustomAdvanced and a guider in the place of KSampler."""
    prompt = deepcopy(prompt)
    (node,) = (node for node in prompt.values() if node["class_type"] == "KSampler")
    given = node["inputs"]
    schedule = {name: given[name] for name in ("model", "scheduler", "steps", "denoise")}
    node["class_type"] = "SamplerCustomAdvanced"
    node["inputs"] = {
        "noise": add(prompt, "RandomNoise", noise_seed=given["seed"]),
        "guider": add(prompt, guider, model=given["model"], **inputs),
        "sampler": add(prompt, "KSamplerSelect", sampler_name=given["sampler_name"]),
        "sigmas": add(prompt, "BasicScheduler", **schedule),
        "latent_image": given["latent_image"],
    }
    return prompt


def encoded(prompt: Prompt, text: str) -> Link:
    return add(prompt, "CLIPTextEncode", clip=clip_of(prompt), text=text)


def plain_pictures(prompt: Prompt, runs: Sequence[tuple[int, int]], width: int = SIDE) -> Link:
    """Pictures of one colour; a run is how many, and which colour."""
    size = {"width": width, "height": SIDE}
    return _joined(
        prompt, [add(prompt, "EmptyImage", batch_size=count, color=colour, **size) for count, colour in runs]
    )


def half_pictures(prompt: Prompt, runs: Sequence[tuple[int, int]]) -> Link:
    """Black pictures with one half white; a run is how many, and where the white half begins."""
    parts = []
    for count, x in runs:
        black = plain_pictures(prompt, [(count, BLACK)])
        white = plain_pictures(prompt, [(1, WHITE)], width=SIDE // 2)
        place = {"destination": black, "source": white, "x": x, "y": 0, "resize_source": False}
        parts.append(add(prompt, "ImageCompositeMasked", **place))
    return _joined(prompt, parts)


def half_masks(prompt: Prompt, runs: Sequence[tuple[int, int]]) -> Link:
    return add(prompt, "ImageToMask", image=half_pictures(prompt, runs), channel="red")


def controlled(prompt: Prompt, control_net: str, runs: Sequence[tuple[int, int]]) -> Prompt:
    """`prompt` with a ControlNet and pictures for it, in which a run is how many, and which colour."""
    sampler, net = sampler_of(prompt), add(prompt, "ControlNetLoader", control_net_name=control_net)
    image = plain_pictures(prompt, runs)
    both = {"positive": sampler["positive"], "negative": sampler["negative"], "control_net": net, "image": image}
    key, _ = add(prompt, "ControlNetApplyAdvanced", strength=1.0, start_percent=0.0, end_percent=1.0, **both)
    sampler["positive"], sampler["negative"] = [key, 0], [key, 1]
    return prompt


def _joined(prompt: Prompt, pictures: Sequence[Link]) -> Link:
    first, *others = pictures
    for other in others:
        first = add(prompt, "ImageBatch", image1=first, image2=other)
    return first


def latents(server: Server, prompt: Prompt, of: Link | None = None) -> torch.Tensor:
    """The frames `[frames, 4, 8, 8]` that the sampler of a prompt makes, or the node `of`; nothing is decoded."""
    prompt = {key: node for key, node in prompt.items() if node["class_type"] != "SaveImage"}
    samples = of or only(prompt, "VAEDecode")["samples"]
    add(prompt, "SaveLatent", samples=samples, filename_prefix="long_clip")
    (file,) = server.files(server.run(prompt))
    return load_file(file)["latent_tensor"]


def distances(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """How far each frame is from its counterpart, in parts of the size of the latter."""
    return (ours - theirs).flatten(1).norm(dim=1) / theirs.flatten(1).norm(dim=1)


def require_node(server: Server, class_type: str) -> None:
    if server.node(class_type) is None:
        pytest.skip(f"this ComfyUI has no node {class_type}")
