"""Prompts for the real server: the example workflows made small, Loom Mini, clips longer than a context window."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import av
import numpy
import pytest
import torch
from host import loom_mini
from host.checkout import ROOT
from host.prompts import load_prompt, nodes_with, set_everywhere, set_positive_prompt
from host.server import Prompt, Server
from loom_mini.captions import plain_caption
from loom_mini.measures import ClipReading, read_clip
from loom_mini.world import Combination
from PIL import Image
from safetensors.torch import load_file, save_file
from synthetic_motion import random_tensor
from synthetic_weights import KINDS, unet_config

WORKFLOWS = ROOT / "workflows"
NUMBERED = "animatediff_[0-9][0-9]_"  # which name and order the templates in the frontend
WORKFLOW_NAMES = tuple(file.stem.split("_", 2)[2] for file in sorted(WORKFLOWS.glob(f"{NUMBERED}*.json")))
WITHOUT_DOWNLOAD = "first_clip_no_download"
LENGTH_IS_IN = {
    "long_video": "batch_size",
    "prompt_travel": "value",
    "controlnet_video": "length",
    "video_to_video": "length",
}
EXAMPLE_FRAMES, EXAMPLE_SIZE = 16, 64
OTHER_LENGTHS = {"loop": 24, "upscale_video": 24} | dict.fromkeys(LENGTH_IS_IN, 20)  # more than one window of 16
ENLARGED = {
    WITHOUT_DOWNLOAD: 4 * EXAMPLE_SIZE,
    "latent_upscale": 3 * EXAMPLE_SIZE // 2,
    "upscale_video": 2 * EXAMPLE_SIZE,
}
TILES = {"tiles.tile_size": EXAMPLE_SIZE, "tiles.tile_overlap": 0}


def find_template(name: str) -> Path:
    """Return the template whose file name is `name` after its number."""
    (file,) = WORKFLOWS.glob(f"{NUMBERED}{name}.json")
    return file


def load_twin(name: str) -> Prompt:
    """Return the API twin of a template."""
    return load_prompt(WORKFLOWS / "api" / find_template(name).name)


def small_prompt(name: str, checkpoint: str, motion_model: str, steps: int = 2) -> Prompt:
    """The API twin of a workflow with models of the test, 64 x 64 pixels, few steps and at most 24 frames."""
    prompt = load_twin(name)
    if name != WITHOUT_DOWNLOAD:
        set_everywhere(prompt, "ckpt_name", checkpoint)
        set_everywhere(prompt, "motion_model", motion_model)
    for side in ("width", "height"):
        set_everywhere(prompt, side, EXAMPLE_SIZE)
    set_everywhere(prompt, "steps", steps)
    for tile_input, value in TILES.items():
        for inputs in nodes_with(prompt, tile_input):
            inputs[tile_input] = value
    if name in LENGTH_IS_IN:
        set_everywhere(prompt, LENGTH_IS_IN[name], example_frames(name))
    return prompt


def example_frames(name: str) -> int:
    """The frames that a small prompt makes."""
    return OTHER_LENGTHS.get(name, EXAMPLE_FRAMES)


def example_size(name: str) -> int:
    """The width and height of what a small prompt makes."""
    return ENLARGED.get(name, EXAMPLE_SIZE)


def node_inputs(prompt: Prompt, class_type: str) -> dict:
    """The inputs of the one node of a class."""
    (matched,) = (node["inputs"] for node in prompt.values() if node["class_type"] == class_type)
    return matched


def decode_video(video: Path) -> numpy.ndarray:
    """The frames of a video file, [frames, height, width, 3] in 0 to 255."""
    with av.open(str(video)) as container:
        return numpy.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def frame_rate(video: Path) -> float:
    """The frames per second of a video file."""
    with av.open(str(video)) as container:
        return float(container.streams.video[0].average_rate)


MINI_STEPS = 12


def mini_prompt(text: str, seed: int = 1, steps: int = MINI_STEPS, **inputs) -> Prompt:
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


def without_files(prompt: Prompt) -> Prompt:
    """The same prompt with the motion model that Load Loom Mini brings, instead of one from a models folder."""
    prompt = deepcopy(prompt)
    (loader,) = (key for key, node in prompt.items() if node["class_type"] == loom_mini.LOADER)
    node_inputs(prompt, "LoomApplyMotionModel")["motion_model"] = [loader, 3]
    return {key: node for key, node in prompt.items() if node["class_type"] != "LoomLoadMotionModel"}


def run_pictures(server: Server, prompt: Prompt) -> torch.Tensor:
    """The frames that a prompt makes, as `read` gives them."""
    return read_pictures(server.files(server.run(prompt)))


def read_pictures(files: Iterable[Path]) -> torch.Tensor:
    """Pictures `[frames, 3, height, width]` in 0 to 1."""
    frames = numpy.stack([numpy.asarray(Image.open(file).convert("RGB")) for file in files])
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


def film(server: Server, text: str, seed: int = 1, **inputs) -> ClipReading:
    """Return what a clip of a prompt shows."""
    return read_clip(run_pictures(server, mini_prompt(text, seed, **inputs)))


def film_all(server: Server, asked: Iterable[Combination], seed: int, **inputs) -> list[ClipReading]:
    return [film(server, plain_caption(*combination), seed, **inputs) for combination in asked]


TEXT = "a red circle moving right"
LONG_FRAMES, POSITIONS, SIDE = 33, 32, 64  # more frames than Loom Mini has positions for: undivided they are refused
WINDOWS = {"context_length": 18, "context_overlap": 3, "schedule": "static", "fuse": "pyramid"}
BLACK, WHITE = 0x000000, 0xFFFFFF
LEFT, RIGHT = 0, SIDE // 2

Link = list[Any]


def add_node(prompt: Prompt, class_type: str, **inputs) -> Link:
    """Put one more node into `prompt`; returns the link to its first output."""
    key = f"{class_type} {len(prompt)}"
    prompt[key] = {"class_type": class_type, "inputs": inputs}
    return [key, 0]


def long_prompt(text: str = TEXT, steps: int = 2, frames: int = LONG_FRAMES, **inputs) -> Prompt:
    return mini_prompt(text, steps=steps, batch_size=frames, **inputs)


def sampler_inputs(prompt: Prompt) -> dict[str, Any]:
    return node_inputs(prompt, "KSampler")


def clip_link(prompt: Prompt) -> Link:
    """The text encoder of a prompt."""
    return next(node["inputs"]["clip"] for node in prompt.values() if node["class_type"] == "CLIPTextEncode")


def add_to_model(prompt: Prompt, class_type: str, **inputs) -> Prompt:
    """The same prompt with one more node on the model of its sampler."""
    prompt = deepcopy(prompt)
    sampler = sampler_inputs(prompt)
    sampler["model"] = add_node(prompt, class_type, model=sampler["model"], **inputs)
    return prompt


def add_windows(prompt: Prompt, **settings) -> Prompt:
    return add_to_model(prompt, "LoomContextWindows", **(WINDOWS | settings))


def use_guider(prompt: Prompt, guider: str, **inputs) -> Prompt:
    """The same prompt with SamplerCustomAdvanced and a guider in the place of KSampler."""
    prompt = deepcopy(prompt)
    (node,) = (node for node in prompt.values() if node["class_type"] == "KSampler")
    sampler_settings = node["inputs"]
    schedule = {name: sampler_settings[name] for name in ("model", "scheduler", "steps", "denoise")}
    node["class_type"] = "SamplerCustomAdvanced"
    node["inputs"] = {
        "noise": add_node(prompt, "RandomNoise", noise_seed=sampler_settings["seed"]),
        "guider": add_node(prompt, guider, model=sampler_settings["model"], **inputs),
        "sampler": add_node(prompt, "KSamplerSelect", sampler_name=sampler_settings["sampler_name"]),
        "sigmas": add_node(prompt, "BasicScheduler", **schedule),
        "latent_image": sampler_settings["latent_image"],
    }
    return prompt


def add_text(prompt: Prompt, text: str) -> Link:
    return add_node(prompt, "CLIPTextEncode", clip=clip_link(prompt), text=text)


def add_plain_pictures(prompt: Prompt, runs: Sequence[tuple[int, int]], width: int = SIDE) -> Link:
    """Pictures of one colour; a run is how many, and which colour."""
    size = {"width": width, "height": SIDE}
    return _joined(
        prompt, [add_node(prompt, "EmptyImage", batch_size=count, color=colour, **size) for count, colour in runs]
    )


def add_half_pictures(prompt: Prompt, runs: Sequence[tuple[int, int]]) -> Link:
    """Black pictures with one half white; a run is how many, and where the white half begins."""
    parts = []
    for count, x in runs:
        black = add_plain_pictures(prompt, [(count, BLACK)])
        white = add_plain_pictures(prompt, [(1, WHITE)], width=SIDE // 2)
        place = {"destination": black, "source": white, "x": x, "y": 0, "resize_source": False}
        parts.append(add_node(prompt, "ImageCompositeMasked", **place))
    return _joined(prompt, parts)


def add_half_masks(prompt: Prompt, runs: Sequence[tuple[int, int]]) -> Link:
    return add_node(prompt, "ImageToMask", image=add_half_pictures(prompt, runs), channel="red")


def add_control(prompt: Prompt, control_net: str, runs: Sequence[tuple[int, int]]) -> Prompt:
    """`prompt` with a ControlNet and pictures for it, in which a run is how many, and which colour."""
    sampler, net = sampler_inputs(prompt), add_node(prompt, "ControlNetLoader", control_net_name=control_net)
    image = add_plain_pictures(prompt, runs)
    both = {"positive": sampler["positive"], "negative": sampler["negative"], "control_net": net, "image": image}
    key, _ = add_node(prompt, "ControlNetApplyAdvanced", strength=1.0, start_percent=0.0, end_percent=1.0, **both)
    sampler["positive"], sampler["negative"] = [key, 0], [key, 1]
    return prompt


def _joined(prompt: Prompt, pictures: Sequence[Link]) -> Link:
    first, *others = pictures
    for other in others:
        first = add_node(prompt, "ImageBatch", image1=first, image2=other)
    return first


def run_latents(server: Server, prompt: Prompt, of: Link | None = None) -> torch.Tensor:
    """The frames `[frames, 4, 8, 8]` that the sampler of a prompt makes, or the node `of`; nothing is decoded."""
    prompt = {key: node for key, node in prompt.items() if node["class_type"] not in ("SaveImage", "SaveVideo")}
    samples = of or node_inputs(prompt, "VAEDecode")["samples"]
    add_node(prompt, "SaveLatent", samples=samples, filename_prefix="long_clip")
    (file,) = server.files(server.run(prompt))
    return load_file(file)["latent_tensor"]


def distances(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Return the distance of each frame from its counterpart, relative to the size of the latter."""
    return (ours - theirs).flatten(1).norm(dim=1) / theirs.flatten(1).norm(dim=1)


def require_node(server: Server, class_type: str) -> None:
    if server.node(class_type) is None:
        pytest.skip(f"this ComfyUI has no node {class_type}")


VIDEO_WIDTH, VIDEO_HEIGHT, SQUARE = 96, 64, 24
MINI_WIDTH, NARROW_WIDTH, LORA_RANK = 64, 320, 4
DECODER_KEYS = ("out_channels", "transformer_depth_output")


def write_video(file: Path, frames: int, rate: int) -> None:
    """A bright square on grey that moves two pixels to the right in every frame."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = VIDEO_WIDTH, VIDEO_HEIGHT, "yuv420p"
        for number in range(frames):
            picture = av.VideoFrame.from_image(draw_picture(left=8 + 2 * number))
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def draw_picture(left: int) -> Image.Image:
    """A bright square on grey."""
    picture = numpy.full((VIDEO_HEIGHT, VIDEO_WIDTH, 3), 60, numpy.uint8)
    picture[20 : 20 + SQUARE, left : left + SQUARE] = 230
    return Image.fromarray(picture)


def save_control_net(file: Path, unet: dict[str, Any] | None = None) -> None:
    """A ControlNet of random weights for a UNet; without one, for SD1.5 with 320 channels at every level."""
    import comfy.cldm.cldm

    unet = unet or unet_config(KINDS["sd15_narrow"])
    config = {name: value for name, value in unet.items() if name not in DECODER_KEYS}
    net = comfy.cldm.cldm.ControlNet(hint_channels=3, device="meta", **config)
    weights = {
        f"control_model.{name}": random_tensor(name, weight.shape, seed=0, dtype=torch.float16)
        for name, weight in net.state_dict().items()
    }
    save_file(weights, file)


def save_lora(file: Path, width: int = MINI_WIDTH) -> None:
    """A LoRA of random weights for attention layers of a UNet, strong enough to be seen."""
    layers = [f"input_blocks_{number}_1_transformer_blocks_0_attn1_to_q" for number in (1, 2)]
    layers += [f"output_blocks_{number}_1_transformer_blocks_0_attn2_to_out_0" for number in (9, 10, 11)]
    shapes = {"lora_up.weight": (width, LORA_RANK), "lora_down.weight": (LORA_RANK, width)}
    names = {f"lora_unet_{layer}.{part}": shape for layer in layers for part, shape in shapes.items()}
    save_file({name: random_tensor(name, shape, 0, torch.float32) for name, shape in names.items()}, file)
