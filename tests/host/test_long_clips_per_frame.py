"""Prompts, masks, noise masks and ControlNet pictures for every frame, in context windows in the real server."""

import pytest
import torch
from host.server import Prompt, Server
from loom_mini.architecture import UNET
from loom_mini.measures import nearest_colour, object_mask, read_clip

from tests.support.filming import pictures
from tests.support.guiding_files import save_control_net
from tests.support.long_clips import (
    BLACK,
    FRAMES,
    LEFT,
    RIGHT,
    WHITE,
    Link,
    add,
    clip_of,
    controlled,
    distances,
    encoded,
    half_masks,
    half_pictures,
    latents,
    long_prompt,
    sampler_of,
    windowed,
)

CHANGE = 16  # the frame from which on a per-frame input says something else; inside both windows
BEFORE, AFTER = CHANGE, FRAMES - CHANGE
SURE = 14  # so many frames at either end show one prompt only
CLOSE, DIFFERENT = 1e-4, 1e-2
SHORT, IN_TWO = 10, {"context_length": 6, "context_overlap": 2}
SIDE_OF_LATENT = 8


@pytest.fixture(scope="module")
def control_net(host_server: Server) -> str:
    """The name of a ControlNet for Loom Mini."""
    file = host_server.folder / "models" / "controlnet" / "loom_mini_control.safetensors"
    file.parent.mkdir(exist_ok=True)
    save_control_net(file, UNET)
    return file.name


def test_a_prompt_for_every_frame(host_server: Server):
    prompt = long_prompt(steps=4)
    text = "0-12: a red circle moving right\n20: a green circle moving right"
    inputs = {"clip": clip_of(prompt), "text": text, "frames": FRAMES, "interpolation": "linear"}
    sampler_of(prompt)["positive"] = add(prompt, "LoomPromptSchedule", **inputs)

    shown = read_clip(pictures(host_server, windowed(prompt)))

    colours = [frame.colour for frame in shown.frames]
    assert colours[:12] == ["red"] * 12 and colours[-12:] == ["green"] * 12
    assert shown.motion == "right"


def test_a_mask_for_every_frame(host_server: Server):
    """Red on the left and green on the right, and from one frame on the other way round."""
    prompt = long_prompt(steps=4)
    red, green = (encoded(prompt, f"a {colour} square standing still") for colour in ("red", "green"))
    left_then_right, right_then_left = [(BEFORE, LEFT), (AFTER, RIGHT)], [(BEFORE, RIGHT), (AFTER, LEFT)]
    both = {
        "conditioning_1": masked(prompt, red, left_then_right),
        "conditioning_2": masked(prompt, green, right_then_left),
    }
    sampler_of(prompt)["positive"] = add(prompt, "ConditioningCombine", **both)

    clip = pictures(host_server, windowed(prompt))

    left, right = (colours_of(half) for half in clip.chunk(2, dim=-1))
    assert left[:SURE] == right[-SURE:] == ["red"] * SURE
    assert right[:SURE] == left[-SURE:] == ["green"] * SURE


def masked(prompt: Prompt, conditioning: Link, runs: list[tuple[int, int]]) -> Link:
    where = {"mask": half_masks(prompt, runs), "strength": 1.0, "set_cond_area": "default"}
    return add(prompt, "ConditioningSetMask", conditioning=conditioning, **where)


def colours_of(clip: torch.Tensor) -> list[str]:
    return [nearest_colour(picture, object_mask(picture)) for picture in clip]


def unmoved() -> Prompt:
    """A short clip without a motion model: its frames know nothing of each other."""
    return long_prompt(frames=SHORT, strength=0.0)


def test_an_area(host_server: Server):
    """Windows must change nothing where frames know nothing of each other."""
    prompt = unmoved()
    size = {"width": 0.5, "height": 1.0, "x": 0.5, "y": 0.0, "strength": 1.0}
    blue = encoded(prompt, "a blue square standing still")
    right = add(prompt, "ConditioningSetAreaPercentage", conditioning=blue, **size)
    sampler = sampler_of(prompt)
    sampler["positive"] = add(prompt, "ConditioningCombine", conditioning_1=sampler["positive"], conditioning_2=right)

    plain = latents(host_server, prompt)

    assert distances(latents(host_server, windowed(prompt, **IN_TWO)), plain).max() < CLOSE
    assert distances(latents(host_server, unmoved()), plain).min() > DIFFERENT


def test_inpainting_with_a_mask_for_every_frame(host_server: Server):
    prompt = long_prompt()
    source = add(prompt, "VAEEncode", pixels=half_pictures(prompt, [(20, RIGHT), (13, LEFT)]), vae=vae_of(prompt))
    mask = half_masks(prompt, [(BEFORE, LEFT), (AFTER, RIGHT)])
    sampler_of(prompt)["latent_image"] = add(prompt, "SetLatentNoiseMask", samples=source, mask=mask)

    clip, before = latents(host_server, windowed(prompt)), latents(host_server, prompt, of=source)

    inside = torch.zeros(FRAMES, 1, SIDE_OF_LATENT, SIDE_OF_LATENT, dtype=torch.bool)
    inside[:CHANGE, ..., : SIDE_OF_LATENT // 2] = inside[CHANGE:, ..., SIDE_OF_LATENT // 2 :] = True
    assert torch.allclose(clip.where(~inside, 0), before.where(~inside, 0), atol=CLOSE)
    assert distances(clip.where(inside, 0), before.where(inside, 0)).min() > 0.1


def vae_of(prompt: Prompt) -> Link:
    return next(node["inputs"]["vae"] for node in prompt.values() if node["class_type"] == "VAEDecode")


def test_control_pictures_reach_their_own_frames(host_server: Server, control_net: str):
    """Frames that know nothing of each other: those change whose pictures change, in either window and in both."""
    runs = [(1, BLACK), (1, WHITE), (3, BLACK), (1, WHITE), (2, BLACK), (1, WHITE), (1, BLACK)]
    clip, black = (
        latents(host_server, windowed(controlled(unmoved(), control_net, shown), **IN_TWO))
        for shown in (runs, [(SHORT, BLACK)])
    )
    changed = distances(clip, black)
    assert (changed[[1, 5, 8]] > 10 * CLOSE).all()
    assert (changed[[0, 2, 3, 4, 6, 7, 9]] < CLOSE).all()


def test_control_pictures_of_another_window_change_nothing(host_server: Server, control_net: str):
    batched = {"context_length": 5, "context_overlap": 0, "schedule": "batched"}
    clip, black = (
        latents(host_server, windowed(controlled(long_prompt(frames=SHORT), control_net, runs), **batched))
        for runs in ([(5, BLACK), (5, WHITE)], [(SHORT, BLACK)])
    )
    assert (distances(clip, black)[:5] < CLOSE).all()
    assert (distances(clip, black)[5:] > 10 * CLOSE).all()
