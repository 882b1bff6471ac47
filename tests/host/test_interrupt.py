"""An interrupted prompt ends within a step, and leaves the host as it was."""

import pytest
from host.prompts import set_positive_prompt
from host.server import Progress, Prompt, PromptInterrupted, Server

from tests.support.server import HostModels
from tests.support.workflows import decode_video, node_inputs, small_prompt

FRAMES, MANY_STEPS = 4, 200


def test_interrupt_while_sampling(host_server: Server, sd15_models: HostModels):
    prompt = small_prompt("text_to_video", sd15_models.checkpoint, sd15_models.motion_model, steps=1)
    node_inputs(prompt, "EmptyLatentImage")["batch_size"] = FRAMES
    before = sampled_frames(host_server, prompt)
    steps: list[int] = []

    def interrupt_second_step(progress: Progress) -> None:
        if progress.class_type == "KSampler" and progress.value:
            steps.append(progress.value)
            if progress.value == 2:
                host_server.interrupt()

    node_inputs(prompt, "KSampler")["steps"] = MANY_STEPS
    with pytest.raises(PromptInterrupted, match="KSampler"):
        host_server.run(prompt, interrupt_second_step)
    assert steps[-1] <= 3, "it went on for more than a step"

    node_inputs(prompt, "KSampler")["steps"] = 1
    assert (sampled_frames(host_server, prompt) == before).all()


def sampled_frames(server: Server, prompt: Prompt):
    """The frames of a prompt that is sampled again, with the models that the server has loaded.

    A space at the end of the text changes nothing but the host's memory of results.
    """
    set_positive_prompt(prompt, f"{prompt['5']['inputs']['text']} ")
    (video,) = server.files(server.run(prompt))
    return decode_video(video)
