"""Switch the API twin of a template to Loom Mini, as its note describes."""

from copy import deepcopy
from typing import Any

from host.loom_mini import LOADER
from host.prompts import nodes_with, set_everywhere
from host.server import Prompt

SETTINGS = {
    "steps": 12,
    "cfg": 4.0,
    "sampler_name": "euler",
    "scheduler": "normal",
    "width": 64,
    "height": 64,
    "tiles.tile_size": 64,
    "tiles.tile_overlap": 32,
}
MOTION_MODEL = 3  # output of Load Loom Mini; the first three are those of Load Checkpoint
APPLY_CONTROL = {"ControlNetApplyAdvanced", "LoomApplySparseControl"}
CONTROL = {*APPLY_CONTROL, "ControlNetLoader", "LoomLoadSparseControl"}
SEASONS = "0%-15%: a red circle\n30%-45%: a yellow circle\n60%-75%: a green circle\n90%-100%: a blue circle"
TEXTS = {
    "first_clip_no_download": "a red circle moving right",
    "text_to_video": "a red star moving left on a black background",
    "text_to_video_fast": "a green triangle moving up",
    "text_to_video_sdxl": "a purple square moving right on a black background",
    "long_video": "a purple triangle moving right on a grey background",
    "loop": "a yellow star moving right on a grey background",
    "picture_to_video": "a red circle moving right",
    "video_to_video": "a blue star moving right on a white background",
    "controlnet_video": "a yellow square moving right on a black background",
    "latent_upscale": "a green circle moving down",
    "lora_per_frame": "a red square moving right on a white background",
    "several_motion_models": "a purple triangle moving left on a black background",
    "inspect_motion": "a yellow circle moving up",
    "motion_lora": "a red star on a white background",
    "custom_module": "a cyan circle moving down",
    "free_init": "a red circle moving left",
    "motion_strength": "a red circle moving right on a black background",
    "sparse_sketch": "a yellow star moving right on a black background",
    "camera_path": "a yellow star on a grey background",
    "upscale_video": "a blue triangle moving right",
}
STRENGTHS = {"free_init": 0.5, "motion_lora": 1.0, "camera_path": 0.6}  # of the motion model, 1 is steady; of a LoRA
SECOND_PASS = {"upscale_video": {"cfg": 1.5, "denoise": 0.3}}  # Loom Mini puts a shape into every tile at more


def switch(prompt: Prompt, name: str) -> Prompt:
    """Return the prompt of the template `name` with Loom Mini, its settings and a text that it knows."""
    switched = deepcopy(prompt)
    loaders = [key for key, node in prompt.items() if node["class_type"] == "LoomLoadMotionModel"]
    for key, node in prompt.items():
        if node["class_type"] == "CheckpointLoaderSimple":
            switched[key] = {"class_type": LOADER, "inputs": {}}
            for loader in loaders:
                replace_links(switched, [loader, 0], [key, MOTION_MODEL])
        if node["class_type"] in APPLY_CONTROL:
            for output, side in enumerate(("positive", "negative")):
                replace_links(switched, [key, output], node["inputs"][side])
    left_out = {*loaders, *(key for key, node in prompt.items() if node["class_type"] in CONTROL)}
    switched = {key: node for key, node in switched.items() if key not in left_out}
    for setting, value in SETTINGS.items():
        for inputs in nodes_with(switched, setting):
            inputs[setting] = value
    for inputs in nodes_with(switched, "denoise"):
        if inputs["denoise"] < 1:
            inputs |= SECOND_PASS.get(name, {})
    if name in STRENGTHS:
        set_everywhere(switched, "strength", STRENGTHS[name])
    _set_texts(switched, name)
    return switched


def replace_links(prompt: Prompt, link: list[Any], other: list[Any]) -> None:
    for node in prompt.values():
        node["inputs"] |= {key: other for key, value in node["inputs"].items() if value == link}


def _set_texts(prompt: Prompt, name: str) -> None:
    """Set the positive text, and no negative one: Loom Mini was trained without."""
    samplers = [node["inputs"] for node in prompt.values() if node["class_type"] == "KSampler"]
    for inputs in nodes_with(prompt, "text"):
        is_schedule = "prefix" in inputs
        inputs["text"] = SEASONS if is_schedule else ""
        if is_schedule:
            inputs |= {"prefix": "", "suffix": "standing still on a black background"}
    if name in TEXTS:
        for sampler in samplers:
            _find_text(prompt, sampler["positive"])["text"] = TEXTS[name]


def _find_text(prompt: Prompt, link: list[Any]) -> dict[str, Any]:
    inputs = prompt[link[0]]["inputs"]
    return inputs if "text" in inputs else _find_text(prompt, inputs.get("positive_NEW") or inputs["positive"])
