"""Noise for long clips: the reference's order, and that every frame keeps its own distribution (reference E.5)."""

import importlib
from dataclasses import replace

import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.nodes.video_noise import VideoNoise
from animatediff_loom.sampling.camera.keyframes import follow_keyframes
from animatediff_loom.sampling.noise.initial import NOISES, NoiseSettings, free_noise, make_noise
from animatediff_loom.sampling.noise.output import VideoNoiseSource
from animatediff_loom.sampling.noise.paths import Camera
from hypothesis import given
from hypothesis import strategies as st

import nodes
from tests.support.host import tiny_model
from tests.support.motion_models import apply_motion, apply_windows
from tests.support.sampling import (
    SEED,
    apply_host_windows,
    call,
    ksampler,
    ksampler_advanced,
    noise,
    prompt,
    record_unet,
    sample,
)


def order(frames: int, length: int, overlap: int, seed: int) -> list[int]:
    """Which frame of the noise stands at each place."""
    return free_noise(torch.arange(frames), NoiseSettings("FreeNoise", length, overlap), seed).tolist()


def test_order_of_the_reference():
    expected = [6, 8, 1, 7, 0, 2, 10, 11, 4, 3, 5, 9, 14, 15, 12, 13]
    assert order(32, 16, 4, seed=42) == [*range(16), *expected]


@given(st.integers(1, 120), st.integers(2, 32), st.data())
def test_every_window_draws_on_the_first(frames, length, data):
    overlap = data.draw(st.integers(0, length - 1))
    frame_order = order(frames, length, overlap, seed=3)
    assert frame_order[:length] == list(range(min(frames, length)))
    assert set(frame_order) == set(range(min(frames, length)))


@given(st.integers(0, 1000))
def test_a_seed_gives_one_order(seed):
    assert order(64, 16, 4, seed) == order(64, 16, 4, seed)


def test_another_seed_gives_another_order():
    assert order(64, 16, 4, 1) != order(64, 16, 4, 2)


def test_frames_of_noise_are_moved_and_not_changed():
    start = noise(40)
    moved = free_noise(start, NoiseSettings("FreeNoise"), seed=0)
    assert all(any(torch.equal(frame, old) for old in start[:16]) for frame in moved)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def noisy(model, kind: str = "FreeNoise", fresh_noise: float = 0.0, **inputs):
    return call(VideoNoise, model=model, noise_type={"noise_type": kind, **inputs}, fresh_noise=fresh_noise)


CAMERA = {"pan_x": 8.0, "pan_y": -4.0, "zoom": 1.1, "roll": 3.0, "path": "straight"}
KINDS: dict[str, tuple[dict, NoiseSettings]] = {
    "FreeNoise": ({"context_length": 4, "context_overlap": 2}, NoiseSettings("FreeNoise", 4, 2)),
    "repeated": ({"context_length": 4}, NoiseSettings("repeated", 4, 0)),
    "same": ({}, NoiseSettings("same")),
    "seed + frame": ({"start_frame": 2}, NoiseSettings("seed + frame", start=2)),
    "stream per frame": ({"start_frame": 2}, NoiseSettings("stream per frame", start=2)),
    "camera": (CAMERA, NoiseSettings("camera", camera=Camera(1.0, -0.5, 1.1, 3.0))),
    "video": ({"images": torch.rand(9, 64, 64, 3)}, NoiseSettings("video", flows=torch.zeros(8, 2, 64, 64))),
}


@pytest.mark.parametrize(("kind", "fresh"), [*((kind, 0.0) for kind in NOISES), ("same", 0.25)])
def test_sampling_begins_with_that_noise(model, kind, fresh):
    """A still video, whose pixels are unrelated noise, moves nothing, as far as its flow can be measured."""
    start, (inputs, settings) = noise(7), KINDS[kind]
    if kind == "video":
        inputs = {"images": inputs["images"][:1].expand(9, -1, -1, -1)}
    expected = make_noise(start, replace(settings, fresh_noise=fresh), seed=1)
    sampled = sample(noisy(model, kind, fresh, **inputs), noise=start, cfg=1.0, steps=1)
    assert torch.equal(sampled, sample(model, noise=expected, cfg=1.0, steps=1))
    assert not torch.equal(expected, start)
    assert float(expected.var()) == pytest.approx(float(start[0].var()), abs=0.3)


def test_noise_that_is_off_stays_off(model):
    off = ksampler_advanced(noisy(model, "camera", 0.5, **CAMERA), add_noise="disable", cfg=1.0)["samples"]
    assert torch.equal(off, ksampler_advanced(model, add_noise="disable", cfg=1.0)["samples"])


def test_image_to_image_scales_it_as_the_host_does(model):
    latent, start = noise(5, seed=9), noise(5)
    expected = make_noise(start, KINDS["camera"][1], seed=1)
    options = {"latent_image": latent, "denoise": 0.5, "steps": 4}
    sampled = sample(noisy(model, "camera", **CAMERA), noise=start, **options)
    assert torch.equal(sampled, sample(model, noise=expected, **options))


@pytest.mark.parametrize("kind", ["FreeNoise", "camera"])
def test_noise_output_has_the_seed_and_is_used_once(model, kind):
    """By a model without the node, and by one with it."""
    inputs, _ = KINDS[kind]
    values = {"model": model, "noise_type": {"noise_type": kind, **inputs}, "fresh_noise": 0.5}
    custom = importlib.import_module("comfy_extras.nodes_custom_sampler")
    source = call(custom.RandomNoise, noise_seed=SEED)
    with_node, output = VideoNoise.execute(**values, noise=source).result
    assert output.seed == SEED
    clips = [sample_custom(each, noise) for each, noise in ((with_node, source), (model, output), (with_node, output))]
    assert torch.equal(clips[0], clips[1])
    assert torch.equal(clips[0], clips[2])
    assert not torch.equal(clips[0], sample_custom(model, source))


def sample_custom(model, noise):
    custom = importlib.import_module("comfy_extras.nodes_custom_sampler")
    return call(
        custom.SamplerCustomAdvanced,
        noise=noise,
        guider=call(custom.BasicGuider, model=model, conditioning=prompt(2)),
        sampler=call(custom.KSamplerSelect, sampler_name="euler"),
        sigmas=call(custom.BasicScheduler, model=model, scheduler="normal", steps=1, denoise=1.0),
        latent_image={"samples": torch.zeros(6, 4, 8, 8)},
    )["samples"]


def test_noise_output_needs_a_seed(model):
    _, output = VideoNoise.execute(model, {"noise_type": "same"}).result
    with pytest.raises(LoomError, match=r"its `noise` input is not connected\. Connect RandomNoise to it"):
        output.generate_noise({"samples": torch.zeros(2, 4, 8, 8)})


REFUSED = {
    r"clip has 12 frames, but the `images` of Video Noise only 9.*make a clip of 9 frames": ("video", {}),
    r"moves across \d+ x \d+ latent pixels": ("camera", {"zoom": 0.5}),
    r"`zoom` is 0, but must be above 0": ("camera", {"zoom": 0.0}),
    r"`fresh_noise` is 1\.5, but must be from 0 to 1": ("camera", {"fresh_noise": 1.5}),
}


@pytest.mark.parametrize(("message", "change"), REFUSED.items())
def test_what_does_not_fit_the_clip_is_refused_before_sampling(model, message, change):
    kind, values = change
    watched, seen = record_unet(model)
    with pytest.raises(LoomError, match=message):
        sample(noisy(watched, kind, **(KINDS[kind][0] | values)), 12)
    assert not seen.calls


def test_one_picture_is_no_video(model):
    with pytest.raises(LoomError, match="`images` of Video Noise has 1 frame, but motion needs at least 2"):
        noisy(model, "video", images=torch.zeros(1, 64, 64, 3))


def test_one_noise_for_all_frames_is_a_still_without_motion(model):
    clip = ksampler(noisy(model, "same"))
    assert torch.allclose(clip, clip[:1].expand_as(clip), atol=1e-5)
    moving = ksampler(noisy(apply_motion(model), "same"))
    assert not torch.allclose(moving, moving[:1].expand_as(moving), atol=1e-3)


def test_the_last_noise_counts(model):
    twice = noisy(noisy(model, "same"), context_length=3, context_overlap=1)
    assert torch.equal(ksampler(twice), ksampler(noisy(model, context_length=3, context_overlap=1)))


@pytest.mark.parametrize("add_windows", [apply_windows, apply_host_windows], ids=["ours", "host"])
@pytest.mark.parametrize("noise_is_first", [True, False])
def test_freenoise_follows_the_windows_on_the_model(model, add_windows, noise_is_first):
    """Other lengths on the node change nothing, and without windows they count."""

    def chain(length: int, overlap: int):
        if noise_is_first:
            return add_windows(noisy(model, context_length=length, context_overlap=overlap))
        return noisy(add_windows(model), context_length=length, context_overlap=overlap)

    assert torch.equal(sample(chain(8, 2), 12), sample(chain(4, 3), 12))
    alone = [noisy(model, context_length=length, context_overlap=overlap) for length, overlap in ((8, 2), (4, 3))]
    assert not torch.equal(sample(alone[0], 12), sample(alone[1], 12))


def test_an_overlap_as_long_as_a_window(model):
    with pytest.raises(LoomError, match="`context_overlap` is 4 and `context_length` is 4"):
        noisy(model, context_length=4, context_overlap=4)


@pytest.mark.parametrize("kind", ["seed + frame", "stream per frame"])
def test_frames_keep_their_numbers_in_a_part_of_a_batch(model, kind):
    """As with ComfyUI's own noise and a latent of Latent From Batch, on the model and as NOISE."""
    whole = {"samples": torch.zeros_like(noise(6))}
    (part,) = nodes.LatentFromBatch().frombatch(whole, batch_index=3, length=2)
    starts, custom = [], importlib.import_module("comfy_extras.nodes_custom_sampler")
    for latent in (whole, part):
        clone, seen = record_unet(noisy(model, kind, 0.25))
        ksampler(clone, latent_image=latent, steps=1, cfg=1.0)
        starts.append(seen.calls[0]["x"])
    assert torch.equal(starts[1], starts[0][3:5])
    output = VideoNoiseSource(call(custom.RandomNoise, noise_seed=SEED), NoiseSettings(kind, fresh_noise=0.25))
    assert torch.equal(output.generate_noise(part), output.generate_noise(whole)[3:5])


def test_a_camera_that_passes_the_subject_after_the_clip_is_no_fault():
    path = follow_keyframes("100%: dolly 4", 64, "linear", 2.0)
    clip_path = replace(path, poses=path.poses[:16], lenses=path.lenses[:16])
    start = torch.randn(16, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    ours, expected = (make_noise(start, NoiseSettings("camera", camera_path=each), 1) for each in (path, clip_path))
    assert torch.equal(ours, expected)
    with pytest.raises(LoomError, match="the camera passes the subject"):
        make_noise(torch.ones(64, 4, 8, 8), NoiseSettings("camera", camera_path=path), 1)
