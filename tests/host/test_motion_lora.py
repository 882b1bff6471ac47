"""Motion LoRAs on Loom Mini's motion model, in the real server."""

import pytest
import torch
from host.server import Prompt, PromptError, Server

from tests.host.conftest import save_motion_lora
from tests.support.workflows import TEXT, add_node, mini_prompt, node_inputs, run_latents

FRAMES, STEPS = 4, 2


def with_lora(file: str, strength: float) -> Prompt:
    prompt = mini_prompt(TEXT, steps=STEPS, batch_size=FRAMES)
    apply = node_inputs(prompt, "LoomApplyMotionModel")
    lora = {"motion_model": apply["motion_model"], "motion_lora": file, "strength": strength}
    apply["motion_model"] = add_node(prompt, "LoomMotionLora", **lora)
    return prompt


def test_a_lora_acts_and_leaves_nothing(host_server: Server, motion_lora: str):
    plain = run_latents(host_server, mini_prompt(TEXT, steps=STEPS, batch_size=FRAMES))
    changed = run_latents(host_server, with_lora(motion_lora, 1.0))
    off = run_latents(host_server, with_lora(motion_lora, 0.0))
    assert torch.equal(off, plain) and not torch.allclose(changed, plain, atol=1e-2)


def test_another_file_is_refused(host_server: Server):
    other = save_motion_lora(host_server, "other.safetensors", {"weight": torch.ones(1)})
    with pytest.raises(PromptError, match=r"Motion LoRA .* holds no LoRA"):
        host_server.run(with_lora(other, 1.0))
