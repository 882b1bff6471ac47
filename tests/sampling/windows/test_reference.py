"""Windows that take their appearance from one reference window."""

import pytest
import torch
from animatediff_loom.sampling.windows.on_model import add_context_windows
from animatediff_loom.sampling.windows.reference import WindowReference
from animatediff_loom.sampling.windows.run import WeightedWindow
from animatediff_loom.sampling.windows.schedules import WindowLayout
from animatediff_loom.sampling.windows.settings import ContextSettings

from tests.support.host import tiny_model
from tests.support.motion_models import LENGTH, apply_motion, apply_windows
from tests.support.sampling import (
    LATENT_SIZE,
    apply_control,
    control_net,
    distance,
    noise,
    prompt,
    random_pictures,
    record_options,
    sample,
)

FRAMES = 10


def prompt_of_frames() -> list:
    """A prompt that differs between frames, so that colours are left to it."""
    texts = [prompt(seed)[0] for seed in range(FRAMES)]
    pooled = torch.cat([extra["pooled_output"] for _, extra in texts])
    return [[torch.cat([text for text, _ in texts]), {"pooled_output": pooled}]]


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def test_without_reference_nothing_changes(model):
    assert torch.equal(sample(apply_windows(model, reference_until=0.0), FRAMES), sample(apply_windows(model), FRAMES))


@pytest.mark.parametrize("until", [0.4, 1.0])
def test_other_windows_look_at_the_first(model, until):
    """Without motion, frames know of each other through the reference alone."""
    start, referring = noise(FRAMES), apply_windows(model, reference_until=until)
    clip, plain = sample(referring, noise=start), sample(apply_windows(model), noise=start)
    assert distance(clip[: LENGTH - 1], plain[: LENGTH - 1]) < 2e-5
    assert distance(clip[LENGTH:], plain[LENGTH:]) > 1e-3
    start[LENGTH // 2] = noise(1, seed=9)
    other = sample(referring, noise=start)
    assert distance(other[LENGTH:], clip[LENGTH:]) > 1e-4


def contrast(frames: torch.Tensor) -> torch.Tensor:
    return frames - frames.mean((2, 3), keepdim=True)


def brightening_window() -> torch.Tensor:
    """A window of 4 frames, each brighter than the one before."""
    return contrast(torch.randn(4, 3, 2, 2)) + torch.linspace(-2, 2, 4).view(4, 1, 1, 1)


def test_windows_take_the_means_of_the_first():
    reference, first, others = WindowReference(frame=2), brightening_window(), 5 + 0.1 * torch.randn(8, 3, 2, 2)
    (unchanged,) = reference.match_means([first], windows=1)
    assert torch.equal(unchanged, first)
    (matched,) = reference.match_means([others], windows=2)
    for window, before in zip(matched.chunk(2), others.chunk(2), strict=True):
        assert torch.allclose(window.mean((0, 2, 3)), first.mean((0, 2, 3)), atol=1e-6)
        assert torch.allclose(
            window - window.mean((0, 2, 3), keepdim=True), before - before.mean((0, 2, 3), keepdim=True), atol=1e-6
        )


@pytest.mark.parametrize("flash", [9.0, -9.0])
def test_no_frame_is_brighter_or_darker_than_those_of_the_first_window(flash):
    reference, first, others = WindowReference(frame=2), brightening_window(), torch.randn(8, 3, 2, 2)
    others[5] += flash
    reference.match_means([first], windows=1)
    (matched,) = reference.match_means([others], windows=2)
    means = matched.mean((2, 3))
    assert means.min() >= -2 - 1e-6 and means.max() <= 2 + 1e-6
    assert torch.allclose(means[5].abs(), torch.full((3,), 2.0), atol=1e-6)
    assert torch.allclose(contrast(matched), contrast(others), atol=1e-6)


def test_means_can_be_left_alone():
    reference = WindowReference(frame=2, matches_means=False)
    first, others = torch.randn(4, 3, 2, 2), torch.randn(8, 3, 2, 2)
    reference.match_means([first], windows=1)
    assert torch.equal(reference.match_means([others], windows=2)[0], others)


def test_a_shorter_range_changes_less(model):
    plain = sample(apply_windows(model), FRAMES, steps=4)
    early, always = (sample(apply_windows(model, reference_until=until), FRAMES, steps=4) for until in (0.3, 1.0))
    assert 0 < distance(early, plain) < distance(always, plain)


REFERENCE_FRAME = LENGTH // 2


@pytest.mark.parametrize("windows_at_once", [1, 3])
@pytest.mark.parametrize("schedule", ["static", "uniform", "looped", "batched"])
def test_every_step_begins_with_the_window_around_the_same_frame(model, schedule, windows_at_once):
    steps, windows_of = 4, {}
    windowed, seen = record_options(
        apply_windows(model, schedule, reference_until=1.0, windows_at_once=windows_at_once)
    )
    sample(windowed, FRAMES, steps=steps)
    for call in seen:
        windows_of.setdefault(float(call["options"]["sigmas"].max()), []).append(
            call["options"]["ad_params"]["sub_idxs"]
        )
    assert len(windows_of) == steps
    for calls in windows_of.values():
        windows = [tuple(call[start : start + LENGTH]) for call in calls for start in range(0, len(call), LENGTH)]
        assert len(calls[0]) == LENGTH, "the reference window is evaluated alone"
        distances = [
            abs(window.index(REFERENCE_FRAME) - LENGTH // 2) for window in windows if REFERENCE_FRAME in window
        ]
        assert windows[0].index(REFERENCE_FRAME) - LENGTH // 2 in (-min(distances), min(distances))


@pytest.mark.parametrize("schedule", ["uniform", "looped"])
def test_windows_stay_in_place_until_the_reference_ends(model, schedule):
    settings = ContextSettings(schedule, WindowLayout(LENGTH, 1), reference_until=0.5)
    windowed, seen = record_options(add_context_windows(model, settings))
    sample(windowed, FRAMES, steps=8)
    windows_of: dict[float, set] = {}
    for call in seen:
        frames = call["options"]["ad_params"]["sub_idxs"]
        windows = {tuple(frames[start : start + LENGTH]) for start in range(0, len(frames), LENGTH)}
        windows_of.setdefault(float(call["options"]["sigmas"].max()), set()).update(windows)
    half = model.get_model_object("model_sampling").percent_to_sigma(0.5)
    for step, sigma in enumerate(sorted(windows_of, reverse=True)):
        assert windows_of[sigma] == set(settings.plan_windows(FRAMES, 0 if sigma > half else step)), step


@pytest.mark.parametrize("frame", range(FRAMES))
def test_windows_look_at_the_middle_of_the_first_window_and_at_no_other_frame(model, frame):
    """Without motion and colours, a change of one frame reaches windows without it through the reference alone."""
    start, referring = noise(FRAMES), apply_windows(model, "batched", overlap=0, reference_until=1.0)
    changed = start.clone()
    changed[frame] += noise(1, seed=9)[0] - noise(1, seed=9)[0].mean((1, 2), keepdim=True)
    elsewhere = [other for other in range(FRAMES) if other // LENGTH != frame // LENGTH]
    before, after = (
        sample(referring, noise=latent, positive=prompt_of_frames())[elsewhere] for latent in (start, changed)
    )
    assert (distance(after, before) > 1e-4) == (frame == REFERENCE_FRAME)


def test_a_window_of_consecutive_frames_is_the_reference():
    frames = [(0, 2, 4, 6), (5, 6, 7, 8), (3, 5, 7, 9), (2, 3, 4, 5)]
    windows = [WeightedWindow(window, torch.tensor(window), torch.ones(4, 1, 1, 1)) for window in frames]
    assert [window.frames for window in WindowReference(frame=4).put_first(windows)] == [frames[3], *frames[:3]]


def test_where_prompts_differ_colours_are_left_to_them(model):
    """After `reference_until`, only colours are matched."""
    late = {"frames": FRAMES, "sigmas": torch.tensor([2.0, 1.0, 0.0])}
    referring, plain = (apply_windows(model, reference_until=until) for until in (0.1, 0.0))
    assert distance(sample(referring, **late), sample(plain, **late)) > 1e-4
    late["positive"] = prompt_of_frames()
    assert torch.equal(sample(referring, **late), sample(plain, **late))


@pytest.mark.parametrize("kind", ["control images", "masks"])
def test_where_pictures_differ_colours_are_left_to_them(model, kind):
    """After `reference_until`, only colours are matched."""
    late = {"frames": FRAMES, "sigmas": torch.tensor([2.0, 1.0, 0.0])}
    referring, plain = (apply_windows(model, reference_until=until) for until in (0.1, 0.0))
    for count in (1, FRAMES):
        if kind == "masks":
            mask = torch.rand(count, LATENT_SIZE, LATENT_SIZE, generator=torch.Generator().manual_seed(0))
            late["positive"] = prompt(2, mask=mask, mask_strength=1.0, set_area_to_bounds=False)
        else:
            late |= apply_control(control_net(), random_pictures(count))
        same = torch.equal(sample(referring, **late), sample(plain, **late))
        assert same == (count == FRAMES)


def test_where_the_latent_differs_the_reference_has_no_effect(model, caplog):
    video = noise(FRAMES, seed=5)
    referring, plain = (apply_windows(model, reference_until=until) for until in (1.0, 0.0))
    still = sample(referring, FRAMES, latent_image=video[:1].repeat(FRAMES, 1, 1, 1))
    with caplog.at_level("INFO"):
        assert torch.equal(sample(referring, FRAMES, latent_image=video), sample(plain, FRAMES, latent_image=video))
    assert sum("`reference_until` has no effect" in message for message in caplog.messages) == 1
    assert distance(still, sample(plain, FRAMES, latent_image=video[:1].repeat(FRAMES, 1, 1, 1))) > 1e-4


def test_nothing_is_said_of_a_reference_that_the_clip_does_not_need(model, caplog):
    short, view = apply_windows(model, reference_until=1.0), apply_windows(model, "view", reference_until=1.0)
    with caplog.at_level("INFO"):
        sample(short, LENGTH, steps=1, latent_image=noise(LENGTH, seed=5))
        sample(view, FRAMES, steps=1, latent_image=noise(FRAMES, seed=5))
    assert not any("reference_until" in message for message in caplog.messages)


def test_several_windows_at_once_make_the_same(model):
    moving = apply_motion(model)
    one, three = (
        sample(apply_windows(moving, "uniform", reference_until=1.0, windows_at_once=count), FRAMES) for count in (1, 3)
    )
    assert distance(three, one) < 2e-5


def test_conds_that_are_evaluated_apart_have_references_of_their_own(model):
    """Prompts of 7 and 8 tokens do not fit into one batch."""
    long = prompt(2, tokens=8)
    clip = sample(apply_windows(model, reference_until=1.0), FRAMES, positive=long)
    factor, model.model.memory_usage_factor = model.model.memory_usage_factor, 1e18
    try:
        separate = sample(apply_windows(model, reference_until=1.0, windows_at_once=1), FRAMES, positive=long)
    finally:
        model.model.memory_usage_factor = factor
    assert distance(separate, clip) < 2e-5


SPLIT = {"start_step": 2, "disable_noise": True, "force_full_denoise": True}


def split_sampling(model, latent: torch.Tensor) -> torch.Tensor:
    """Return the latents of two samplers, the second of which finishes the clip of the first."""
    half = sample(model, noise=noise(FRAMES), steps=4, latent_image=latent, last_step=2, force_full_denoise=False)
    return sample(model, noise=torch.zeros_like(half), steps=4, latent_image=half.half().float(), **SPLIT)


def test_a_second_sampler_that_finishes_the_clip_keeps_the_reference(model):
    """Its latent's frames differ by the noise that the first one left."""
    referring, plain = (apply_windows(model, reference_until=until) for until in (1.0, 0.0))
    whole = sample(referring, FRAMES, steps=4)
    split = split_sampling(referring, torch.zeros_like(noise(FRAMES)))
    assert distance(split, whole) < 2e-3 < distance(sample(plain, FRAMES, steps=4), whole)


def test_a_second_sampler_that_finishes_a_video_follows_it(model):
    video = noise(FRAMES, seed=5)
    referring, plain = (apply_windows(model, reference_until=until) for until in (1.0, 0.0))
    assert torch.equal(split_sampling(referring, video), split_sampling(plain, video))
