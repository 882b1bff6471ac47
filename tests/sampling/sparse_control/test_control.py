"""SparseCtrl as a control object of the host: its pictures, windows, chains, ranges and errors."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from animatediff_loom.motion_modules.contract import MotionInputs
from animatediff_loom.motion_modules.run_state import TILE
from animatediff_loom.nodes.load_loom_mini import LoadLoomMini
from animatediff_loom.nodes.sparse_control import NEAREST, NONE, ApplySparseControl, LoadSparseControl
from animatediff_loom.sampling.sparse_control.places import PicturePlaces
from animatediff_loom.sampling.windows.settings import VIEW
from comfy.model_management import InterruptProcessingException

from tests.support.host import CPU, tiny_model
from tests.support.motion_models import DIVIDING, apply_motion, apply_windows, load_motion
from tests.support.sampling import (
    apply_control,
    apply_host_windows,
    control_net,
    distance,
    interrupt_during,
    ksampler,
    prompt,
    random_pictures,
    record_options,
    record_unet,
)
from tests.support.sparse_controls import RGB, SCRIBBLE, save_sparse_control, sparse_control
from tests.support.texts import expect_error

FRAMES = 10


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def moving(model):
    return apply_motion(model)


@pytest.fixture(scope="module")
def scribble():
    return sparse_control(SCRIBBLE)


def numbered(count: int) -> torch.Tensor:
    """Pictures of one brightness each, `[count, 64, 64, 3]`."""
    return (1 + torch.arange(count)).view(-1, 1, 1, 1).expand(count, 64, 64, 3) / 16


def apply(control, images: torch.Tensor, at: str = "0", positive=None, negative=None, **inputs) -> dict:
    """Return both prompts as Apply SparseCtrl makes them."""
    placement = inputs.pop("placement", {"placement": "frame numbers", "frame_numbers": at})
    inputs = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0} | inputs
    both = (positive or prompt(2), negative or prompt(3))
    output = ApplySparseControl.execute(*both, control, images, placement, **inputs)
    return {"positive": output[0], "negative": output[1]}


@contextmanager
def recorded_hints(control) -> Iterator[list[torch.Tensor]]:
    """Yield a list that fills with what the embedding of the network receives."""
    hints: list[torch.Tensor] = []
    layer = control.control_model.input_hint_block
    handle = layer.register_forward_pre_hook(lambda module, inputs: hints.append(inputs[0].clone()))
    yield hints
    handle.remove()


def test_the_file_loads_and_guides_a_clip(moving, tmp_path, monkeypatch):
    file = save_sparse_control(tmp_path / "scribble.safetensors")
    monkeypatch.setattr("folder_paths.get_full_path", lambda folder, name: str(file))
    (control,) = LoadSparseControl.execute(file.name).result
    clip = ksampler(moving, **apply(control, numbered(1)))
    assert clip.isfinite().all() and distance(clip, ksampler(moving)) > 1e-3
    assert distance(clip, ksampler(moving, **apply(control, numbered(1), "-1"))) > 1e-3


def test_strength_0_changes_no_bit(moving, scribble):
    assert torch.equal(ksampler(moving, **apply(scribble, numbered(1), strength=0.0)), ksampler(moving))


def test_pictures_stand_at_their_frames_under_the_mask(moving, scribble):
    with recorded_hints(scribble) as hints:
        ksampler(moving, FRAMES, steps=1, **apply(scribble, numbered(2), "-1 3"))
    (hint,) = hints
    expected = torch.zeros(2, FRAMES, 4)
    expected[:, -1], expected[:, 3] = torch.tensor([1, 1, 1, 16]) / 16, torch.tensor([2, 2, 2, 16]) / 16
    assert torch.allclose(hint.mean((2, 3)).view(2, FRAMES, 4), expected)


def test_the_control_is_that_of_the_network_alone(moving, scribble):
    """Both chunks of CFG get the same pictures and the prompts of their own."""
    recording, seen = record_options(moving)
    both = apply(scribble, numbered(2), "0, -1", strength=0.5)
    clip = ksampler(recording, FRAMES, steps=1, **both)
    (call,) = seen
    hint = torch.zeros(FRAMES, 4, 64, 64)
    for picture, frame in enumerate((0, FRAMES - 1)):
        hint[frame, :3], hint[frame, 3] = (1 + picture) / 16, 1
    (timestep,) = {float(time) for time in _timesteps(moving, call)}
    for chunk in range(2):
        rows = slice(chunk * FRAMES, (chunk + 1) * FRAMES)
        alone = scribble.control_model(
            call["x"][rows], hint, torch.full((FRAMES,), timestep), call["context"][rows], motion=MotionInputs(FRAMES)
        )
        for name in ("output", "middle"):
            for ours, theirs in zip(call["control"][name], alone[name], strict=True):
                assert torch.allclose(ours[rows], 0.5 * theirs, atol=1e-5 * float(theirs.abs().max()))
    assert clip.isfinite().all()


def _timesteps(model, call: dict) -> torch.Tensor:
    return model.get_model_object("model_sampling").timestep(call["options"]["sigmas"])


@pytest.mark.parametrize("sparse_first", [True, False])
def test_a_chain_with_a_control_net_is_the_sum(moving, scribble, sparse_first):
    net, images = control_net(), random_pictures(FRAMES)
    alone = [apply(scribble, numbered(1), "4"), apply_control(net, images)]
    if sparse_first:
        node = importlib.import_module("nodes").ControlNetApplyAdvanced()
        positive, negative = node.apply_controlnet(*alone[0].values(), net, images, 1.0, 0.0, 1.0)
        chain = {"positive": positive, "negative": negative}
    else:
        chain = apply(scribble, numbered(1), "4", **alone[1])
    controls = []
    for both in (*alone, chain):
        recording, seen = record_options(moving)
        ksampler(recording, FRAMES, steps=1, **both)
        controls.append(seen[0]["control"])
    for sparse, ordinary, chained in zip(*(control["output"] for control in controls), strict=True):
        assert torch.allclose(chained, sparse + ordinary, atol=1e-5 * float(chained.abs().max()))


def check_windows(seen: list[dict], hints: list[torch.Tensor], places: PicturePlaces) -> None:
    """Check each evaluation by the frames that the context window of the host's own kind lists."""
    for call, hint in zip(seen, hints, strict=True):
        frames = call["options"]["context_window"].index_list
        length = call["options"].get("ad_params", {}).get("context_length", len(frames))
        brightness = torch.zeros(len(frames))
        for start in range(0, len(frames), length):
            for place, picture in places.choose(frames[start : start + length], FRAMES).items():
                brightness[start + place] = (1 + picture) / 16
        chunks = len(call["options"]["cond_or_uncond"])
        assert torch.allclose(hint[:, 0].mean((1, 2)), brightness.repeat(chunks))
        assert torch.equal(hint[:, 3].mean((1, 2)) > 0, brightness.repeat(chunks) > 0)


@pytest.mark.parametrize(
    ("schedule", "windows_at_once", "empty_windows"),
    [*((schedule, 3, NEAREST) for schedule in DIVIDING), ("static", 1, NEAREST), ("static", 3, NONE)],
)
def test_every_window_sees_its_own_pictures(moving, scribble, schedule, windows_at_once, empty_windows):
    windowed = apply_windows(moving, schedule, windows_at_once=windows_at_once)
    recording, seen = record_options(windowed)
    with recorded_hints(scribble) as hints:
        ksampler(recording, FRAMES, steps=1, **apply(scribble, numbered(2), "0, 5", empty_windows=empty_windows))
    places = PicturePlaces(2, (0, 5), reaches_windows=empty_windows == NEAREST)
    check_windows(seen, hints, places)


def test_windows_of_the_host(moving, scribble):
    recording, seen = record_options(apply_host_windows(moving))
    with recorded_hints(scribble) as hints:
        ksampler(recording, FRAMES - 1, steps=1, **apply(scribble, numbered(2), "0, 5"))
    assert {tuple(call["options"]["context_window"].index_list) for call in seen} == {(0, 1, 2), (3, 4, 5), (6, 7, 8)}
    check_windows(seen, hints, PicturePlaces(2, (0, 5)))


def test_several_windows_at_once(moving, scribble):
    both = apply(scribble, numbered(2), "0, 5")
    models = (apply_windows(moving, windows_at_once=count) for count in (1, 3))
    single, grouped = (ksampler(model, FRAMES, steps=1, **both) for model in models)
    assert distance(grouped, single) < 2e-5


def test_a_window_over_the_whole_clip_changes_nothing(moving, scribble):
    both = apply(scribble, numbered(1), "3")
    whole = ksampler(moving, **both)
    assert torch.equal(ksampler(apply_windows(moving), **both), whole)


def test_views_divide_its_attention_too(moving, scribble):
    both = apply(scribble, numbered(1))
    controls = []
    for model in (moving, apply_windows(moving, VIEW)):
        recording, seen = record_options(model)
        ksampler(recording, FRAMES, steps=1, **both)
        controls.append(seen[0]["control"]["middle"][0])
    assert controls[1].shape == controls[0].shape and distance(*controls) > 1e-3


def test_every_tile_sees_its_part_of_the_pictures(moving, scribble):
    gradient = torch.linspace(0, 1, 96).view(1, 1, 96, 1).expand(1, 64, 96, 3)
    tiles = {"tiles": "by size", "tile_size": 64, "tile_overlap": 32}
    recording, seen = record_options(apply_windows(moving, tiles=tiles))
    with recorded_hints(scribble) as hints:
        latent = {"samples": torch.zeros(4, 4, 8, 12)}
        ksampler(recording, steps=1, latent_image=latent, **apply(scribble, gradient))
    lefts = set()
    for call, hint in zip(seen, hints, strict=True):
        tile = call["options"][TILE].scale(8)
        lefts.add(tile.left)
        assert torch.allclose(hint[0, 0, 0], gradient[0, 0, tile.left : tile.left + tile.width, 0])
    assert lefts == {0, 32}


def test_one_prompt_alone_and_a_part_of_the_schedule(moving, scribble):
    plain, whole = ksampler(moving, steps=4), ksampler(moving, steps=4, **apply(scribble, numbered(1)))
    positive = apply(scribble, numbered(1))["positive"]
    early = ksampler(moving, steps=4, **apply(scribble, numbered(1), end_percent=0.5))
    for clip in (ksampler(moving, steps=4, positive=positive), early):
        assert clip.isfinite().all() and distance(clip, plain) > 1e-3 and distance(clip, whole) > 1e-3


def test_two_uses_of_one_file_do_not_see_each_other(moving, scribble):
    first, second = apply(scribble, numbered(1)), apply(scribble, 1 - numbered(1), "2")
    clip = ksampler(moving, **first)
    assert distance(ksampler(moving, **second), clip) > 1e-3
    assert torch.equal(ksampler(moving, **first), clip)
    assert scribble.cond_hint_original is None and scribble.places == PicturePlaces(0)


def test_an_interrupted_run_leaves_nothing(moving, scribble):
    both = apply(scribble, numbered(1))
    clip = ksampler(moving, **both)
    with pytest.raises(InterruptProcessingException):
        ksampler(interrupt_during(moving), **both)
    assert torch.equal(ksampler(moving, **both), clip)


def test_a_model_without_motion(model, scribble):
    assert distance(ksampler(model, **apply(scribble, numbered(1))), ksampler(model)) > 1e-3


def test_a_copy_for_another_device(moving, scribble):
    both = apply(scribble, numbered(1))
    control = both["positive"][0][1]["control"]
    if not hasattr(control, "deepclone_multigpu"):
        pytest.skip("this host has no MultiGPU nodes")
    clip, duplicate = ksampler(moving, **both), control.deepclone_multigpu(CPU)
    assert duplicate.control_model is not control.control_model
    for text in both.values():
        text[0][1]["control"] = duplicate
    assert torch.equal(ksampler(moving, **both), clip)


class TestRgb:
    @pytest.fixture(scope="class")
    def rgb(self):
        return sparse_control(RGB)

    @pytest.fixture(scope="class")
    def vae(self):
        return LoadLoomMini.execute()[2]

    def test_pictures_are_encoded_once_by_the_vae(self, moving, rgb, vae, monkeypatch):
        encode, encoded = vae.encode, []
        monkeypatch.setattr(vae, "encode", lambda pixels: encoded.append(pixels) or encode(pixels))
        picture = random_pictures(1)
        wide = torch.cat([picture, picture], dim=2).repeat_interleave(2, 1).repeat_interleave(2, 2)
        with recorded_hints(rgb) as hints:
            windowed = apply_windows(moving, windows_at_once=1)
            clip = ksampler(windowed, FRAMES, steps=1, **apply(rgb, wide, "3", vae=vae))
        assert [pixels.shape for pixels in encoded] == [(1, 64, 64, 3)] and len(hints) == 3
        expected = 0.18215 * encode(encoded[0])
        assert torch.allclose(hints[0][3, :4], expected[0], atol=1e-5)
        assert distance(clip, ksampler(windowed, FRAMES, steps=1)) > 1e-3

    def test_a_missing_vae_is_refused(self, rgb):
        with expect_error("'rgb.safetensors'", "needs `vae`", "Connect the VAE"):
            apply(rgb, numbered(1))

    def test_a_vae_of_another_base_is_refused(self, rgb, vae, monkeypatch):
        monkeypatch.setattr(vae, "latent_channels", 16)
        with expect_error("`vae` has latents of 16 channels", "SD1.5"):
            apply(rgb, numbered(1), vae=vae)


def refused_at_once(control, *parts: str, images=None, **inputs) -> None:
    with expect_error(*parts):
        apply(control, numbered(1) if images is None else images, **inputs)


def test_pictures_that_do_not_fit_their_list_are_refused(scribble):
    refused_at_once(scribble, "`images` has 1 pictures", "lists 2 frames", at="0, 1")
    refused_at_once(scribble, "`images` has 1 channels", images=torch.zeros(1, 64, 64, 1))
    refused_at_once(scribble, "`frame_numbers` has 'x'", at="x")


@pytest.mark.parametrize("windows", [False, True])
def test_a_frame_outside_the_clip_is_refused_before_sampling(moving, scribble, windows):
    model, seen = record_unet(apply_windows(moving) if windows else moving)
    with expect_error("`frame_numbers`", "has 10", f"{FRAMES} frames", "Choose numbers from 0 to 9"):
        ksampler(model, FRAMES, **apply(scribble, numbered(2), "0, 10"))
    assert not seen.calls


def test_more_frames_than_positions_are_refused_before_sampling(model, scribble):
    moving, seen = record_unet(apply_motion(model, load_motion(64)))
    with expect_error("'scribble.safetensors' would see 33 frames", "positions for 32", "Context Windows"):
        ksampler(moving, 33, **apply(scribble, numbered(1)))
    assert not seen.calls


def test_another_base_model_is_refused_before_sampling(scribble):
    model, seen = record_unet(tiny_model("SDXL"))
    with expect_error("'scribble.safetensors' is made for SD1.5", "`model` is a UNet of 3 levels"):
        ksampler(model, **apply(scribble, numbered(1)))
    assert not seen.calls


@pytest.mark.parametrize(
    ("frames", "at", "fault"),
    [(FRAMES, "10", "`frame_numbers` of Apply SparseCtrl has 10"), (33, "0", "would see 33 frames at once")],
)
def test_a_model_without_motion_refuses_a_clip_that_does_not_fit_before_its_first_evaluation(
    model, scribble, frames, at, fault
):
    recording, seen = record_unet(model)
    with expect_error(fault):
        ksampler(recording, frames, **apply(scribble, numbered(1), at, start_percent=0.9))
    assert not seen.calls


def in_area(both: dict) -> dict:
    """Return both prompts with an area of half of the picture."""
    return {name: [[text, {**options, "area": (8, 8, 0, 0)}]] for name, [[text, options]] in both.items()}


WIDE = {"samples": torch.zeros(4, 4, 8, 16)}


def test_the_area_of_a_prompt_in_tiles_is_refused_before_sampling(moving, scribble):
    tiles = {"tiles": "by size", "tile_size": 64, "tile_overlap": 0}
    recording, seen = record_unet(apply_windows(moving, tiles=tiles))
    with expect_error("A SparseControl on the area of the positive prompt cannot be cut into tiles", "Set a mask"):
        ksampler(recording, latent_image=WIDE, **in_area(apply(scribble, numbered(1))))
    assert not seen.calls


def test_the_area_of_a_prompt_without_tiles_gets_the_pictures(moving, scribble):
    both = in_area(apply(scribble, numbered(1)))
    assert ksampler(moving, latent_image=WIDE, steps=1, **both).isfinite().all()


def test_tiles_of_another_node_are_refused(moving, scribble):
    tiled = moving.clone()

    def cut(executor, model, conds, x, timestep, options):
        halves = [executor(model, conds, half, timestep, options) for half in x.chunk(2, -1)]
        return [torch.cat(parts, -1) for parts in zip(*halves, strict=True)]

    tiled.add_wrapper_with_key("calc_cond_batch", "test", cut)
    with expect_error("'scribble.safetensors' covers a latent of 16 x 8, but another node evaluates a part of 8 x 8"):
        ksampler(tiled, latent_image=WIDE, steps=1, **apply(scribble, numbered(1)))
