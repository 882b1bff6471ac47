"""Samplers outside the range of a motion model: they run without it where another sampler of the prompt runs it."""

from typing import Any

import pytest
from host.server import Prompt, PromptError, Server

from tests.support.texts import must_fail
from tests.support.workflows import Link, mini_prompt, node_inputs, run_latents, sampler_inputs

FRAMES, STEPS = 3, 4
SPLIT = {"add_noise": "enable", "return_with_leftover_noise": "enable", "start_at_step": 0, "end_at_step": 2}
REST = {"add_noise": "disable", "return_with_leftover_noise": "disable", "start_at_step": 2, "end_at_step": 10000}


def short(**inputs) -> Prompt:
    """A prompt of one KSampler; `inputs` are set wherever they occur."""
    return mini_prompt("a red circle moving right", steps=STEPS, batch_size=FRAMES, **inputs)


def add_pass(prompt: Prompt, latent: Link, **inputs: Any) -> Link:
    """Add a second KSampler like the first one, and decode its latent instead."""
    prompt["second"] = {
        "class_type": "KSampler",
        "inputs": {**sampler_inputs(prompt), "latent_image": latent, "denoise": 0.35, **inputs},
    }
    node_inputs(prompt, "VAEDecode")["samples"] = ["second", 0]
    return ["second", 0]


def two_passes(end_percent: float = 0.6, **second: Any) -> Prompt:
    prompt = short(end_percent=end_percent)
    add_pass(prompt, node_inputs(prompt, "VAEDecode")["samples"], **second)
    return prompt


def split(**inputs: Any) -> Prompt:
    """A prompt of two KSampler (Advanced), the first of which leaves noise."""
    prompt = short(**inputs)
    settings = sampler_inputs(prompt)
    settings["noise_seed"] = settings.pop("seed")
    del settings["denoise"]
    first = node_inputs(prompt, "VAEDecode")["samples"]
    prompt["second"] = {"class_type": "KSamplerAdvanced", "inputs": {**settings, **REST, "latent_image": first}}
    prompt[first[0]] = {"class_type": "KSamplerAdvanced", "inputs": {**settings, **SPLIT}}
    node_inputs(prompt, "VAEDecode")["samples"] = ["second", 0]
    return prompt


def said(server: Server, percents: str) -> int:
    return sum(f"acts from {percents} of the schedule. This sampler has no step" in line for line in server.log_lines())


def test_a_second_pass(host_server: Server):
    """Also where the host has kept the first pass from the prompt before."""
    before = said(host_server, "0% to 60%")
    assert run_latents(host_server, two_passes()).isfinite().all()
    assert said(host_server, "0% to 60%") == before + 1
    assert run_latents(host_server, two_passes(seed=7)).isfinite().all()
    assert said(host_server, "0% to 60%") == before + 2


def test_a_prompt_without_the_first_pass(host_server: Server):
    """Motion ran in the prompt before, which is another one."""
    assert run_latents(host_server, two_passes(end_percent=0.61)).isfinite().all()
    alone = short(end_percent=0.61, denoise=0.35)
    must_fail(host_server, alone, "KSampler", "from 0% to 61%", "no other sampler uses it", "change `denoise`")


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (0.5, 1.0)])
def test_split_sampling(host_server: Server, start: float, end: float):
    prompt, percents = split(start_percent=start, end_percent=end), f"{start:.0%} to {end:.0%}"
    before = said(host_server, percents)
    assert run_latents(host_server, prompt).isfinite().all()
    assert said(host_server, percents) == before + 1


def test_two_samplers_outside_the_range(host_server: Server):
    """The first one may trust in the second; queued again, the host has kept the first."""
    prompt = two_passes(end_percent=0.3)
    first, _ = prompt["second"]["inputs"]["latent_image"]
    prompt[first]["inputs"]["denoise"] = 0.4
    for _ in range(2):
        with pytest.raises(PromptError, match=r"from 0% to 30% of the schedule, .* no other sampler uses it"):
            host_server.run(prompt)


def test_a_first_half_without_a_second(host_server: Server):
    prompt = split(start_percent=0.5)
    node_inputs(prompt, "VAEDecode")["samples"] = prompt.pop("second")["inputs"]["latent_image"]
    words = ("from 50% to 100%", "change `start_at_step` and `end_at_step`")
    must_fail(host_server, prompt, "KSamplerAdvanced", *words)


def test_the_other_sampler_has_the_model_from_before_apply(host_server: Server):
    prompt = split(start_percent=0.5)
    prompt["second"]["inputs"]["model"] = node_inputs(prompt, "LoomApplyMotionModel")["model"]
    must_fail(host_server, prompt, "KSamplerAdvanced", "from 50% to 100%", "no other sampler uses it")


def encode_picture(prompt: Prompt, pictures: int = 1) -> None:
    size = {"width": 64, "height": 64, "batch_size": pictures, "color": 0x808080}
    prompt["picture"] = {"class_type": "EmptyImage", "inputs": size}
    vae = node_inputs(prompt, "VAEDecode")["vae"]
    prompt["encoded"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["picture", 0], "vae": vae}}
    sampler_inputs(prompt)["latent_image"] = ["encoded", 0]


def test_one_encoded_picture(host_server: Server):
    prompt = short()
    encode_picture(prompt)
    must_fail(host_server, prompt, "KSampler", "1 frame", "Add Repeat Latent Batch after VAE Encode")
    prompt["repeated"] = {"class_type": "RepeatLatentBatch", "inputs": {"samples": ["encoded", 0], "amount": 1}}
    sampler_inputs(prompt)["latent_image"] = ["repeated", 0]
    must_fail(host_server, prompt, "KSampler", "1 frame", "Raise `amount` of Repeat Latent Batch")
    prompt["repeated"]["inputs"]["amount"] = FRAMES
    assert len(run_latents(host_server, prompt)) == FRAMES
