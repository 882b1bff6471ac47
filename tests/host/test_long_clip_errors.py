"""After a refusal by context windows, or a cancel, the next prompt makes the same clip as before."""

import time
from collections.abc import Callable
from itertools import count

import pytest
import torch
from host.server import Progress, Prompt, PromptError, PromptInterrupted, Server
from loom_mini.architecture import UNET

from tests.support.texts import must_fail
from tests.support.workflows import (
    BLACK,
    POSITIONS,
    TEXT,
    add_control,
    add_node,
    add_plain_pictures,
    add_windows,
    clip_link,
    long_prompt,
    run_latents,
    sampler_inputs,
    save_control_net,
)

FRAMES, OTHER = 6, 5
SETTINGS = {"context_length": 4, "context_overlap": 1}
BLANKS = count(1)


def short(frames: int = FRAMES, steps: int = 1, **inputs) -> Prompt:
    """A clip that takes no time, never the same to the host's memory of results."""
    return long_prompt(TEXT + " " * next(BLANKS), steps, frames, **inputs)


def in_windows(prompt: Prompt, **settings) -> Prompt:
    return add_windows(prompt, **(SETTINGS | settings))


@pytest.fixture(scope="module")
def good_clip(host_server: Server) -> torch.Tensor:
    return run_latents(host_server, in_windows(short()))


@pytest.fixture
def check_next(host_server: Server, good_clip: torch.Tensor) -> Callable[[], None]:
    def check() -> None:
        assert torch.equal(run_latents(host_server, in_windows(short())), good_clip)

    return check


@pytest.fixture(autouse=True)
def nothing_is_lost(check_next: Callable[[], None]):
    yield
    check_next()


@pytest.mark.parametrize("overlap", [4, 9])
def test_an_overlap_that_is_too_long(host_server: Server, overlap: int):
    prompt = in_windows(short(), context_overlap=overlap)
    must_fail(host_server, prompt, "LoomContextWindows", f"`context_overlap` is {overlap}", "`context_length` is 4")


def test_windows_longer_than_the_positions(host_server: Server):
    prompt = in_windows(short(POSITIONS + 8), context_length=POSITIONS + 1)
    parts = (f"{POSITIONS + 1} frames at once", f"positions for {POSITIONS}", f"up to {POSITIONS}")
    must_fail(host_server, prompt, "KSampler", *parts)


def test_a_loop_of_two_frames(host_server: Server):
    loop = {"schedule": "looped", "schedule.context_stride": 1, "schedule.closed_loop": True}
    must_fail(host_server, in_windows(short(2), **loop), "KSampler", "2 frames", "at least 3", "Make a longer clip")
    assert len(run_latents(host_server, in_windows(short(2), **loop | {"schedule.closed_loop": False}))) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"context_length": 0}, "Value 0 smaller than min of 1: context_length"),
        ({"context_length": 5000}, "Value 5000 bigger than max of 1024: context_length"),
        ({"context_overlap": -1}, "Value -1 smaller than min of 0: context_overlap"),
        ({"schedule": "uniform", "schedule.context_stride": 0}, "Value 0 smaller than min of 1: .*context_stride"),
        ({"schedule": "uniform", "schedule.context_stride": 99}, "Value 99 bigger than max of 16: .*context_stride"),
    ],
)
def test_numbers_that_no_clip_has_are_not_even_queued(host_server: Server, settings: dict, said: str):
    with pytest.raises(PromptError, match=rf"LoomContextWindows.*{said}"):
        host_server.queue(in_windows(short(), **settings))


def with_prompt_schedule(prompt: Prompt) -> Prompt:
    inputs = {"clip": clip_link(prompt), "text": f"0: {TEXT}", "frames": OTHER, "interpolation": "linear"}
    sampler_inputs(prompt)["positive"] = add_node(prompt, "LoomPromptSchedule", **inputs)
    return prompt


def with_mask(prompt: Prompt) -> Prompt:
    mask = add_node(prompt, "ImageToMask", image=add_plain_pictures(prompt, [(OTHER, BLACK)]), channel="red")
    where = {"mask": mask, "strength": 1.0, "set_cond_area": "default"}
    sampler = sampler_inputs(prompt)
    sampler["positive"] = add_node(prompt, "ConditioningSetMask", conditioning=sampler["positive"], **where)
    return prompt


POSITIVE, LATER = "The positive prompt has", "the positive prompt"
BOTH_NUMBERS = (f"has {OTHER} frames", f"the clip has {FRAMES}", f"Provide {FRAMES} frames, or one")


@pytest.mark.parametrize(("change", "name"), [(with_prompt_schedule, POSITIVE), (with_mask, f"The mask of {LATER}")])
def test_conditioning_for_another_number_of_frames(host_server: Server, change: Callable[[Prompt], Prompt], name: str):
    must_fail(host_server, in_windows(change(short())), "KSampler", name, *BOTH_NUMBERS)


def test_a_prompt_schedule_of_another_length_without_windows(host_server: Server):
    """The host by itself would begin the schedule again, or leave out its end."""
    must_fail(host_server, with_prompt_schedule(short()), "KSampler", POSITIVE, *BOTH_NUMBERS)
    assert run_latents(host_server, with_prompt_schedule(short(OTHER))).isfinite().all()
    assert run_latents(host_server, with_prompt_schedule(short(strength=0.0))).isfinite().all()


def test_windows_that_divide_the_clip_only_in_later_steps(host_server: Server):
    prompt = in_windows(with_prompt_schedule(short(steps=4, strength=0.0)), context_length=8)
    must_fail(host_server, in_windows(prompt, start_percent=0.5), "KSampler", POSITIVE, *BOTH_NUMBERS)


def test_control_pictures_for_another_number_of_frames(host_server: Server):
    file = host_server.folder / "models" / "controlnet" / "another_control.safetensors"
    file.parent.mkdir(exist_ok=True)
    save_control_net(file, UNET)
    prompt = add_control(short(), file.name, [(OTHER, BLACK)])
    must_fail(
        host_server,
        in_windows(prompt),
        "KSampler",
        f"The control image of {LATER} (ControlNet)",
        *BOTH_NUMBERS,
    )


def test_a_cancel_ends_within_a_window(host_server: Server):
    """A step has 13 windows; a cancel at the end of one step is through long before the end of the next."""
    prompt = in_windows(long_prompt(steps=50, frames=40), windows_at_once=1)
    ends: list[float] = []

    def cancel_second(progress: Progress) -> None:
        if progress.class_type == "KSampler" and progress.value:
            ends.append(time.monotonic())
            if len(ends) == 2:
                host_server.interrupt()

    with pytest.raises(PromptInterrupted, match="KSampler"):
        host_server.run(prompt, cancel_second)
    step, rest = ends[1] - ends[0], time.monotonic() - ends[1]
    assert len(ends) == 2 and rest < step / 2
