"""Motion LoRA Hook with the host's own hook nodes, on Loom Mini's motion model in the real server."""

import pytest
import torch
from host.server import Prompt, PromptError, Server

from tests.host.test_motion_lora import FRAMES, STEPS, with_lora
from tests.support.workflows import TEXT, add_node, distances, mini_prompt, run_latents, sampler_inputs


def with_hook(file: str, begins_late: bool = False) -> Prompt:
    """Loom Mini's prompt with a hook on both prompts, for the whole run or its second half."""
    prompt = mini_prompt(TEXT, steps=STEPS, batch_size=FRAMES)
    hooks = add_node(prompt, "LoomMotionLoraHook", motion_lora=file, strength=1.0)
    if begins_late:
        off = add_node(prompt, "CreateHookKeyframe", strength_mult=0.0, start_percent=0.0)
        on = add_node(prompt, "CreateHookKeyframe", strength_mult=1.0, start_percent=0.5, prev_hook_kf=off)
        hooks = add_node(prompt, "SetHookKeyframes", hooks=hooks, hook_kf=on)
    for name in ("positive", "negative"):
        cond = {"cond_NEW": sampler_inputs(prompt)[name], "strength": 1.0, "set_cond_area": "default"}
        sampler_inputs(prompt)[name] = add_node(prompt, "ConditioningSetProperties", **cond, hooks=hooks)
    return prompt


def test_a_hook_does_what_the_lora_does(host_server: Server, motion_lora: str):
    plain = run_latents(host_server, mini_prompt(TEXT, steps=STEPS, batch_size=FRAMES))
    changed = run_latents(host_server, with_lora(motion_lora, 1.0))
    hooked = run_latents(host_server, with_hook(motion_lora))
    assert distances(hooked, changed).max() < 1e-4 < 1e-2 < distances(changed, plain).min()
    late = run_latents(host_server, with_hook(motion_lora, begins_late=True))
    assert distances(late, plain).min() > 1e-3 and distances(late, changed).min() > 1e-3
    again = mini_prompt(TEXT, steps=STEPS, batch_size=FRAMES)
    sampler_inputs(again)["denoise"] = 0.9999999  # sampled again, not taken from the cache
    assert torch.equal(run_latents(host_server, again), plain)


def test_a_hook_without_a_motion_model_is_refused(host_server: Server, motion_lora: str):
    prompt = with_hook(motion_lora)
    (apply,) = (node["inputs"] for node in prompt.values() if node["class_type"] == "LoomApplyMotionModel")
    sampler_inputs(prompt)["model"] = apply["model"]
    with pytest.raises(PromptError, match=r"Motion LoRA .* no motion model acts"):
        host_server.run(prompt)
