"""FreeInit in the real server: one progress bar for all iterations, and what it cannot start from is refused."""

import pytest
import torch
from host.server import Progress, Prompt, PromptError, Server

from tests.support.workflows import TEXT, add_to_model, mini_prompt, run_latents, sampler_inputs

FRAMES, STEPS = 4, 3


def free_init_prompt(iterations: int) -> Prompt:
    prompt = mini_prompt(TEXT, steps=STEPS, batch_size=FRAMES)
    inputs = {"iterations": iterations, "filter": "butterworth", "variance_preserving": True}
    return add_to_model(prompt, "LoomFreeInit", **inputs)


def test_the_progress_bar_goes_once_through_all_iterations(host_server: Server):
    shown: list[tuple[int, int]] = []

    def keep(progress: Progress) -> None:
        if progress.class_type == "KSampler" and progress.value:
            shown.append((progress.value, progress.maximum))

    host_server.run(free_init_prompt(3), keep)
    assert sorted(set(shown)) == shown and shown[-1] == (7, 7)  # two of the three steps, twice, and all three


def test_it_changes_the_clip_and_one_iteration_does_not(host_server: Server):
    plain = run_latents(host_server, mini_prompt(TEXT, steps=STEPS, batch_size=FRAMES))
    assert torch.equal(run_latents(host_server, free_init_prompt(1)), plain)
    assert not torch.allclose(run_latents(host_server, free_init_prompt(2)), plain, atol=1e-2)


def test_a_sampler_that_adds_no_noise_is_refused(host_server: Server):
    prompt = free_init_prompt(2)
    sampler = sampler_inputs(prompt)
    (node,) = (node for node in prompt.values() if node["inputs"] is sampler)
    sampler |= {"noise_seed": sampler.pop("seed"), "add_noise": "disable", "return_with_leftover_noise": "disable"}
    sampler |= {"start_at_step": 1, "end_at_step": STEPS}
    sampler.pop("denoise")
    node["class_type"] = "KSamplerAdvanced"
    message = r"noise of KSampler \(Advanced\) is 0 everywhere.*\. Set its `add_noise` to enable, or connect it to"
    with pytest.raises(PromptError, match=message):
        host_server.run(prompt)
