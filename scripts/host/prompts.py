"""Prompts in API format: finding nodes by what they are and setting what they are given."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .server import Prompt


def load_prompt(file: Path) -> Prompt:
    """Read a workflow in API format: node ids, each with a class_type and inputs."""
    prompt = json.loads(file.read_text(encoding="utf-8"))
    if not all(isinstance(node, dict) and {"class_type", "inputs"} <= node.keys() for node in prompt.values()):
        raise ValueError(f"{file} is no workflow in API format: export it with Workflow > Export (API).")
    return prompt


def nodes_with(prompt: Prompt, name: str) -> Iterator[dict[str, Any]]:
    """The inputs of every node that is given a plain value for the input `name`."""
    for node in prompt.values():
        if name in node["inputs"] and not _is_link(node["inputs"][name]):
            yield node["inputs"]


def set_everywhere(prompt: Prompt, name: str, value: Any) -> None:
    """Give every node that takes a plain value for `name` this value; a prompt without one is refused."""
    matches = list(nodes_with(prompt, name))
    if not matches:
        raise ValueError(f"No node of the workflow has the input {name!r}, so {value!r} has no place in it.")
    for inputs in matches:
        inputs[name] = value


def set_positive_prompt(prompt: Prompt, text: str) -> None:
    """Replace the text that a sampler's `positive` input comes from."""
    for node in prompt.values():
        if _is_link(node["inputs"].get("positive")):
            _text_source(prompt, node["inputs"]["positive"])["text"] = text
            return
    raise ValueError("No node of the workflow has a linked input 'positive', so the prompt has no place in it.")


def _text_source(prompt: Prompt, link: list[Any]) -> dict[str, Any]:
    inputs = prompt[link[0]]["inputs"]
    if isinstance(inputs.get("text"), str):
        return inputs
    for name in ("positive", "conditioning", "conditioning_to"):
        if _is_link(inputs.get(name)):
            return _text_source(prompt, inputs[name])
    raise ValueError(f"The prompt's text was not found: node {link[0]} ({prompt[link[0]]['class_type']}) has none.")


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)
