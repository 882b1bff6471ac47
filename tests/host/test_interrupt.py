"""An interrupted prompt ends within a step, and leaves the host as it was."""

import pytest
from example_workflows import decode, only, small_prompt
from host.server import Progress, Prompt, PromptInterrupted, Server
from server_fixtures import HostModels

MANY_STEPS = 200


def test_interrupt_while_sampling(host_server: Server, sd15_models: HostModels):
    prompt = small_prompt("text_to_video", sd15_models.checkpoint, sd15_models.motion_model, steps=1)
    before = fresh_frames(host_server, prompt)
    steps: list[int] = []

    def interrupt_second_step(progress: Progress) -> None:
        if progress.class_type == "KSampler" and progress.value:
            steps.append(progress.value)
            if progress.value == 2:
                host_server.interrupt()

    only(prompt, "KSampler")["steps"] = MANY_STEPS
    with pytest.raises(PromptInterrupted, match="KSampler"):
        host_server.run(prompt, interrupt_second_step)
    assert steps[-1] <= 3, "it went on for more than a step"

    only(prompt, "KSampler")["steps"] = 1
    assert (fresh_frames(host_server, prompt) == before).all()


def fresh_frames(server: Server, prompt: Prompt):
    """The frames of a prompt for which nothing was remembered but the loaded models."""
    server.post("/free", {"free_memory": True})
    (video,) = server.files(server.run(prompt))
    return decode(video)
