"""Prompts, masks, noise masks and ControlNet pictures for every frame, in context windows in the real server."""

import pytest
import torch
from host.server import Prompt, Server
from loom_mini.architecture import UNET
from loom_mini.measures import nearest_colour, object_mask, read_clip

from tests.support.workflows import (
    BLACK,
    LEFT,
    LONG_FRAMES,
    RIGHT,
    WHITE,
    Link,
    add_control,
    add_half_masks,
    add_half_pictures,
    add_node,
    add_text,
    add_windows,
    clip_link,
    distances,
    long_prompt,
    run_latents,
    run_pictures,
    sampler_inputs,
    save_control_net,
)

CHANGE = 16  # the frame from which on a per-frame input says something else; inside both windows
BEFORE, AFTER = CHANGE, LONG_FRAMES - CHANGE
SURE = 14  # this many frames at either end show one prompt only
CLOSE, DIFFERENT = 1e-4, 1e-2
SHORT, IN_TWO = 10, {"context_length": 6, "context_overlap": 2, "reference_until": 0}
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
    inputs = {"clip": clip_link(prompt), "text": text, "frames": LONG_FRAMES, "interpolation": "linear"}
    sampler_inputs(prompt)["positive"] = add_node(prompt, "LoomPromptSchedule", **inputs)

    shown = read_clip(run_pictures(host_server, add_windows(prompt)))

    colours = [frame.colour for frame in shown.frames]
    assert colours[:12] == ["red"] * 12 and colours[-12:] == ["green"] * 12
    assert shown.motion == "right"


def test_a_mask_for_every_frame(host_server: Server):
    """Red on the left and green on the right, and from one frame on the other way round."""
    prompt = long_prompt(steps=4)
    red, green = (add_text(prompt, f"a {colour} square standing still") for colour in ("red", "green"))
    left_then_right, right_then_left = [(BEFORE, LEFT), (AFTER, RIGHT)], [(BEFORE, RIGHT), (AFTER, LEFT)]
    both = {
        "conditioning_1": masked(prompt, red, left_then_right),
        "conditioning_2": masked(prompt, green, right_then_left),
    }
    sampler_inputs(prompt)["positive"] = add_node(prompt, "ConditioningCombine", **both)

    clip = run_pictures(host_server, add_windows(prompt))

    left, right = (colours_of(half) for half in clip.chunk(2, dim=-1))
    assert left[:SURE] == right[-SURE:] == ["red"] * SURE
    assert right[:SURE] == left[-SURE:] == ["green"] * SURE


def masked(prompt: Prompt, conditioning: Link, runs: list[tuple[int, int]]) -> Link:
    where = {"mask": add_half_masks(prompt, runs), "strength": 1.0, "set_cond_area": "default"}
    return add_node(prompt, "ConditioningSetMask", conditioning=conditioning, **where)


def colours_of(clip: torch.Tensor) -> list[str]:
    return [nearest_colour(picture, object_mask(picture)) for picture in clip]


def unmoved() -> Prompt:
    """A short clip without a motion model: its frames know nothing of each other."""
    return long_prompt(frames=SHORT, strength=0.0)


def test_an_area(host_server: Server):
    """Windows must change nothing where frames know nothing of each other."""
    prompt = unmoved()
    size = {"width": 0.5, "height": 1.0, "x": 0.5, "y": 0.0, "strength": 1.0}
    blue = add_text(prompt, "a blue square standing still")
    right = add_node(prompt, "ConditioningSetAreaPercentage", conditioning=blue, **size)
    sampler = sampler_inputs(prompt)
    sampler["positive"] = add_node(
        prompt, "ConditioningCombine", conditioning_1=sampler["positive"], conditioning_2=right
    )

    plain = run_latents(host_server, prompt)

    assert distances(run_latents(host_server, add_windows(prompt, **IN_TWO)), plain).max() < CLOSE
    assert distances(run_latents(host_server, unmoved()), plain).min() > DIFFERENT


def test_inpainting_with_a_mask_for_every_frame(host_server: Server):
    prompt = long_prompt()
    source = add_node(
        prompt, "VAEEncode", pixels=add_half_pictures(prompt, [(20, RIGHT), (13, LEFT)]), vae=vae_of(prompt)
    )
    mask = add_half_masks(prompt, [(BEFORE, LEFT), (AFTER, RIGHT)])
    sampler_inputs(prompt)["latent_image"] = add_node(prompt, "SetLatentNoiseMask", samples=source, mask=mask)

    clip, before = run_latents(host_server, add_windows(prompt)), run_latents(host_server, prompt, of=source)

    inside = torch.zeros(LONG_FRAMES, 1, SIDE_OF_LATENT, SIDE_OF_LATENT, dtype=torch.bool)
    inside[:CHANGE, ..., : SIDE_OF_LATENT // 2] = inside[CHANGE:, ..., SIDE_OF_LATENT // 2 :] = True
    assert torch.allclose(clip.where(~inside, 0), before.where(~inside, 0), atol=CLOSE)
    assert distances(clip.where(inside, 0), before.where(inside, 0)).min() > 0.1


def vae_of(prompt: Prompt) -> Link:
    return next(node["inputs"]["vae"] for node in prompt.values() if node["class_type"] == "VAEDecode")


def test_control_pictures_reach_their_own_frames(host_server: Server, control_net: str):
    """Frames that know nothing of each other: those change whose pictures change, in either window and in both."""
    runs = [(1, BLACK), (1, WHITE), (3, BLACK), (1, WHITE), (2, BLACK), (1, WHITE), (1, BLACK)]
    clip, black = (
        run_latents(host_server, add_windows(add_control(unmoved(), control_net, shown), **IN_TWO))
        for shown in (runs, [(SHORT, BLACK)])
    )
    changed = distances(clip, black)
    assert (changed[[1, 5, 8]] > 10 * CLOSE).all()
    assert (changed[[0, 2, 3, 4, 6, 7, 9]] < CLOSE).all()


def test_control_pictures_of_another_window_change_nothing(host_server: Server, control_net: str):
    batched = {"context_length": 5, "context_overlap": 0, "schedule": "batched"}
    clip, black = (
        run_latents(host_server, add_windows(add_control(long_prompt(frames=SHORT), control_net, runs), **batched))
        for runs in ([(5, BLACK), (5, WHITE)], [(SHORT, BLACK)])
    )
    assert (distances(clip, black)[:5] < CLOSE).all()
    assert (distances(clip, black)[5:] > 10 * CLOSE).all()
