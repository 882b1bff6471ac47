"""Context windows in the real server with the host's samplers, guiders, hooks and caches.

Loom Mini has positions for 32 frames and these clips have 33: what comes of them has been sampled
in windows.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import cache

import pytest
import torch
from host.server import Prompt, PromptError, Server
from loom_mini.measures import read_clip

from tests.support.workflows import (
    LONG_FRAMES,
    POSITIONS,
    Link,
    add_node,
    add_to_model,
    add_windows,
    clip_link,
    distances,
    long_prompt,
    require_node,
    run_latents,
    run_pictures,
    sampler_inputs,
    save_lora,
    use_guider,
)

SAMPLERS = {
    "heun": {"steps": 4, "cfg": 2.0, "scheduler": "simple"},
    "dpmpp_sde": {"steps": 3},
    "lcm": {"steps": 4},
    "euler_ancestral": {"steps": 4},
}
GUIDERS = ("BasicGuider", "CFGGuider", "DualCFGGuider", "DualModelGuider", "PerpNegGuider")
CFG = 4.0
CLOSE, DIFFERENT = 1e-4, 1e-2


@pytest.fixture(scope="module")
def sampled(host_server: Server) -> Callable[[float], torch.Tensor]:
    """The latents of KSampler with a CFG, sampled once."""
    return cache(lambda cfg: run_latents(host_server, add_windows(long_prompt(cfg=cfg))))


@pytest.fixture(scope="module")
def lora(host_server: Server) -> str:
    """The name of a LoRA for Loom Mini's image model."""
    file = host_server.folder / "models" / "loras" / "loom_mini_lora.safetensors"
    file.parent.mkdir(exist_ok=True)
    save_lora(file)
    return file.name


def shows_the_prompt(clip: torch.Tensor) -> bool:
    shown = read_clip(clip)
    looks = (shown.motion, shown.most_common("colour"), shown.most_common("shape"))
    return len(shown.frames) == LONG_FRAMES and shown.steady and looks == ("right", "red", "circle")


def test_undivided_they_are_refused(host_server: Server):
    with pytest.raises(PromptError, match=f"{LONG_FRAMES} frames at once.* has positions for {POSITIONS}"):
        host_server.run(long_prompt())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers(host_server: Server, sampler: str):
    prompt = add_windows(long_prompt(sampler_name=sampler, **SAMPLERS[sampler]))
    assert shows_the_prompt(run_pictures(host_server, prompt))


@pytest.mark.parametrize("guider", GUIDERS)
def test_guiders(host_server: Server, sampled: Callable[[float], torch.Tensor], guider: str):
    """With these inputs each guider is defined as what KSampler does."""
    require_node(host_server, guider)
    prompt = add_windows(long_prompt())
    clip = run_latents(host_server, use_guider(prompt, guider, **guidance(prompt)[guider]))
    assert distances(clip, sampled(1.0 if guider == "BasicGuider" else CFG)).max() < CLOSE
    assert distances(sampled(1.0), sampled(CFG)).min() > DIFFERENT


def guidance(prompt: Prompt) -> dict[str, dict]:
    sampler = sampler_inputs(prompt)
    positive, negative = sampler["positive"], sampler["negative"]
    both = {"positive": positive, "negative": negative, "cfg": CFG}
    two = {"cond1": positive, "cond2": negative, "cfg_conds": CFG, "cfg_cond2_negative": 2.0}
    return {
        "BasicGuider": {"conditioning": positive},
        "CFGGuider": both,
        "DualCFGGuider": {**two, "negative": negative, "style": "regular"},
        "DualModelGuider": {**both, "model_negative": sampler["model"]},
        "PerpNegGuider": {**both, "empty_conditioning": negative, "neg_scale": 1.0},
    }


def test_a_lora_as_a_hook_does_what_the_lora_does(
    host_server: Server, lora: str, sampled: Callable[[float], torch.Tensor]
):
    loaded = run_latents(
        host_server, add_windows(add_to_model(long_prompt(), "LoraLoaderModelOnly", **both_names(lora)))
    )
    hooked = run_latents(host_server, add_windows(with_clip_hooks(long_prompt(), lora)))
    assert distances(loaded, sampled(CFG)).min() > DIFFERENT
    assert distances(hooked, loaded).max() < CLOSE


def test_keyframes_of_a_hook_hold_in_every_window(host_server: Server, lora: str):
    prompt = long_prompt(steps=3)
    from_later = with_keyframes(prompt, lora, {0.0: 0.0, 0.3: 1.0})
    from_the_start = with_keyframes(prompt, lora, {0.0: 1.0})
    without, later, always = (
        run_latents(host_server, add_windows(each)) for each in (prompt, from_later, from_the_start)
    )
    assert min(distances(later, without).min(), distances(later, always).min()) > DIFFERENT


def both_names(lora: str) -> dict:
    return {"lora_name": lora, "strength_model": 1.0}


def lora_hook(prompt: Prompt, lora: str) -> Link:
    return add_node(prompt, "CreateHookLora", strength_clip=0.0, **both_names(lora))


def with_clip_hooks(prompt: Prompt, lora: str) -> Prompt:
    """The same prompt with the LoRA as a hook on its text encoder, which hands it on to both conditionings."""
    prompt = deepcopy(prompt)
    encoders = [node["inputs"] for node in prompt.values() if node["class_type"] == "CLIPTextEncode"]
    switches = {"apply_to_conds": True, "schedule_clip": False}
    clip = add_node(prompt, "SetClipHooks", clip=clip_link(prompt), hooks=lora_hook(prompt, lora), **switches)
    for inputs in encoders:
        inputs["clip"] = clip
    return prompt


def with_keyframes(prompt: Prompt, lora: str, strengths: dict[float, float]) -> Prompt:
    """The same prompt with the LoRA as a hook on both conditionings; `strengths` by where they begin."""
    prompt, frames = deepcopy(prompt), {}
    for start, strength in strengths.items():
        link = add_node(prompt, "CreateHookKeyframe", strength_mult=strength, start_percent=start, **frames)
        frames = {"prev_hook_kf": link}
    hooks = add_node(prompt, "SetHookKeyframes", hooks=lora_hook(prompt, lora), hook_kf=frames["prev_hook_kf"])
    sampler = sampler_inputs(prompt)
    for name in ("positive", "negative"):
        properties = {"strength": 1.0, "set_cond_area": "default", "hooks": hooks}
        sampler[name] = add_node(prompt, "ConditioningSetProperties", cond_NEW=sampler[name], **properties)
    return prompt


@pytest.fixture(scope="module")
def uncached(host_server: Server) -> torch.Tensor:
    return run_pictures(host_server, add_windows(long_prompt(steps=6)))


@pytest.mark.parametrize(("node", "start"), [("EasyCache", 0.1), ("LazyCache", 0.3)])
def test_caches_that_leave_steps_out(host_server: Server, uncached: torch.Tensor, node: str, start: float):
    require_node(host_server, node)
    often = {"reuse_threshold": 3.0, "start_percent": start, "end_percent": 0.8, "verbose": False}
    clip = run_pictures(host_server, add_to_model(add_windows(long_prompt(steps=6)), node, **often))
    assert shows_the_prompt(clip)
    assert (clip - uncached).abs().mean() > 1e-3, "no step was left out"
