"""A custom motion model in the real server, from New Motion Model to a clip of its file."""

import shutil

import torch
from host.server import Prompt, Server
from safetensors import safe_open

from tests.support.workflows import mini_prompt, read_pictures, run_pictures

PROMPT = "a red circle moving right"
STEPS = 2


def node(class_type: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs}


def number_of(prompt: Prompt, class_type: str) -> str:
    (number,) = [key for key, each in prompt.items() if each["class_type"] == class_type]
    return number


def clip(**inputs) -> Prompt:
    return mini_prompt(PROMPT, 77, STEPS, batch_size=4, **inputs)


def with_own_modules() -> Prompt:
    """Loom Mini, whose motion model has fresh modules in the middle and at its coarsest level on the way up."""
    prompt = clip()
    load, apply = number_of(prompt, "LoomLoadMotionModel"), number_of(prompt, "LoomApplyMotionModel")
    prompt["new"] = node(
        "LoomNewMotionModel",
        model=prompt[apply]["inputs"]["model"],
        architecture="scale_shift",
        **{"architecture.positions": 32},
        frames=16,
        sites="*",
    )
    prompt["replace"] = node("LoomReplaceMotionModules", motion_model=[load, 0], modules=["new", 0], sites="mid, up.0")
    prompt["save"] = node("LoomSaveMotionModel", motion_model=["replace", 0], filename_prefix="animatediff_models/own")
    prompt[apply]["inputs"]["motion_model"] = ["replace", 0]
    return prompt


def test_new_replace_save_and_load_make_the_same_clip(host_server: Server):
    entry = host_server.run(with_own_modules())
    (said,) = entry["outputs"]["save"]["text"]
    assert said.startswith("Saved animatediff_models/own_00001_.safetensors (")
    file = host_server.folder / "output" / "animatediff_models" / "own_00001_.safetensors"
    with safe_open(file, "pt") as opened:
        changed = {name.split(".scale_shift.")[0] for name in opened.keys() if ".scale_shift." in name}  # noqa: SIM118
    assert (
        {"mid_block.motion_modules.0"}
        < changed
        < {"mid_block.motion_modules.0"} | {f"up_blocks.0.motion_modules.{index}" for index in range(4)}
    )

    shutil.move(file, host_server.folder / "models" / "animatediff_models" / file.name)
    again = run_pictures(host_server, clip(motion_model=file.name))
    assert torch.equal(again, read_pictures(host_server.files(entry)))
    assert not torch.equal(again, run_pictures(host_server, clip()))
