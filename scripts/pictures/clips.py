"""Clips of Loom Mini, sampled in a real server; sampled once, then read from a folder."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host import loom_mini
from host.prompts import load_prompt, set_everywhere, set_positive_prompt
from host.server import Prompt, Server
from PIL import Image

SHOWN = {"ImageScaleBy", "CreateVideo", "SaveVideo"}  # nodes of the demo's workflow that turn pictures into a video
SCHEDULE = "LoomPromptSchedule"
RECORDED = {"stop_at_nan": False, "attention_maps": False, "attention_sites": ""}  # Sampling Report
Clip = list[Image.Image]


@dataclass(frozen=True)
class Shot:
    """A clip to sample: its prompt, plain inputs of its nodes, and nodes to add to the model as (class, inputs).

    `schedule` is the text of a Prompt Schedule, in the place of `text`.
    """

    text: str = ""
    frames: int = 16
    seed: int = 1
    inputs: dict[str, Any] = field(default_factory=dict)
    model_nodes: Sequence[tuple[str, dict[str, Any]]] = ()
    schedule: str = ""
    suffix: str = ""

    def build_prompt(self) -> Prompt:
        prompt = load_prompt(loom_mini.WORKFLOW)
        pictures = next(node["inputs"]["image"] for node in prompt.values() if node["class_type"] == "ImageScaleBy")
        prompt = {key: node for key, node in prompt.items() if node["class_type"] not in SHOWN}
        prompt["save"] = {"class_type": "SaveImage", "inputs": {"images": pictures, "filename_prefix": "clip"}}
        for name, value in {"seed": self.seed, "batch_size": self.frames, **self.inputs}.items():
            set_everywhere(prompt, name, value)
        sampler = next(node["inputs"] for node in prompt.values() if node["class_type"] == "KSampler")
        for number, (class_type, inputs) in enumerate(self.model_nodes):
            prompt[f"added {number}"] = {"class_type": class_type, "inputs": {"model": sampler["model"], **inputs}}
            sampler["model"] = [f"added {number}", 0]
        if self.schedule:
            self._schedule_prompts(prompt, sampler)
        else:
            set_positive_prompt(prompt, self.text)
        return prompt

    def _schedule_prompts(self, prompt: Prompt, sampler: dict[str, Any]) -> None:
        clip = next(node["inputs"]["clip"] for node in prompt.values() if node["class_type"] == "CLIPTextEncode")
        inputs = {"clip": clip, "text": self.schedule, "frames": self.frames, "suffix": self.suffix}
        inputs |= {"interpolation": "linear", "easing": "linear"}
        prompt["schedule"] = {"class_type": SCHEDULE, "inputs": inputs}
        sampler["positive"] = ["schedule", 0]


class Studio:
    """Sample shots on `server`, and keep what they give in `folder`, named after the prompt."""

    def __init__(self, server: Server, folder: Path):
        self.server, self.folder = server, folder

    def film(self, shot: Shot) -> Clip:
        """Return the frames of a clip, as large as they were decoded."""
        prompt = shot.build_prompt()
        kept = self._find_place(prompt)
        if not kept.is_dir():
            files = self.server.files(self.server.run(prompt))
            kept.mkdir(parents=True)
            for number, file in enumerate(files):
                Image.open(file).convert("RGB").save(kept / f"{number:04}.png")
        return [Image.open(file).convert("RGB") for file in sorted(kept.glob("*.png"))]

    def report(self, shot: Shot, **inputs: Any) -> dict[str, Any]:
        """Return the recording of Sampling Report for a shot, as Show Sampling Report gives it in JSON.

        `inputs` are those of Sampling Report.
        """
        prompt = shot.build_prompt()
        key, sampler = next((key, node["inputs"]) for key, node in prompt.items() if node["class_type"] == "KSampler")
        prompt["report"] = {
            "class_type": "LoomSamplingReport",
            "inputs": {"model": sampler["model"], **RECORDED, **inputs},
        }
        sampler["model"] = ["report", 0]
        prompt["show"] = {"class_type": "LoomShowReport", "inputs": {"report": ["report", 1], "after": [key, 0]}}
        prompt["json"] = {"class_type": "PreviewAny", "inputs": {"source": ["show", 3]}}
        kept = self._find_place(prompt).with_suffix(".json")
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(self.server.run(prompt)["outputs"]["json"]["text"][0], encoding="utf-8")
        return json.loads(kept.read_text(encoding="utf-8"))

    def _find_place(self, prompt: Prompt) -> Path:
        return self.folder / hashlib.sha256(json.dumps(prompt, sort_keys=True).encode()).hexdigest()[:16]
