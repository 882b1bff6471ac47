"""Sampling in tiles: without overlap, a picture of two tiles is two pictures, with everything that belongs to each."""

import importlib
from collections.abc import Callable
from itertools import pairwise
from uuid import uuid4

import comfy.samplers
import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.motion_modules.tile import Tile
from animatediff_loom.nodes.motion_strength import MotionStrengthNode
from animatediff_loom.sampling.windows.fusion import FUSIONS
from animatediff_loom.sampling.windows.handler import LoomContextHandler
from animatediff_loom.sampling.windows.schedules import WindowLayout
from animatediff_loom.sampling.windows.settings import ContextSettings
from animatediff_loom.sampling.windows.tile_conds import cut_conds
from animatediff_loom.sampling.windows.tiles import TileLayout, weigh_tiles
from comfy.samplers import KSAMPLER
from hypothesis import given, settings
from hypothesis import strategies as st

import nodes
from tests.support.host import tiny_model
from tests.support.motion_models import LENGTH, OVERLAP, apply_motion, apply_windows
from tests.support.other_nodes import FrameStrengths
from tests.support.sampling import (
    apply_control,
    call,
    control_net,
    distance,
    host_node,
    prompt,
    record_options,
    record_unet,
    sample,
    t2i_adapter,
)

FRAMES, SIDE, CLOSE = 7, 8, 2e-5  # frames of two windows, and places of a latent on each side of a tile
HALVES = (slice(0, SIDE), slice(SIDE, 2 * SIDE))


@pytest.fixture(scope="module")
def plain():
    return tiny_model()


@pytest.fixture(scope="module")
def moving(plain):
    return apply_motion(plain)


def apply_tiles(model, overlap: int = 0, size: int = 8 * SIDE, **windows):
    return apply_windows(model, tiles={"tiles": "by size", "tile_size": size, "tile_overlap": overlap}, **windows)


def noise(frames: int, height: int, width: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(frames, 4, height, width, generator=torch.Generator().manual_seed(seed))


def pictures(frames: int, scale: int = 8, channels: int = 3) -> torch.Tensor:
    """Pictures `[frames, height, width, channels]` beside a latent of two tiles, one for every place times `scale`."""
    generator = torch.Generator().manual_seed(5)
    return torch.rand(frames, scale * SIDE, 2 * scale * SIDE, channels, generator=generator)


def each_half(wide: torch.Tensor, scale: int = 8) -> list[torch.Tensor]:
    """Cut pictures `[frames, height, width, ...]`."""
    return [wide[:, :, scale * half.start : scale * half.stop] for half in HALVES]


def check_halves(tiled, untiled, whole: dict, halves: list[dict], frames: int = FRAMES) -> torch.Tensor:
    """Compare a picture in two tiles with its halves, each sampled as a picture; the dicts are further options."""
    start = noise(frames, SIDE, 2 * SIDE)
    clip = sample(tiled, noise=start, steps=1, **whole)
    parts = [
        sample(untiled, noise=start[..., half], steps=1, **options)
        for half, options in zip(HALVES, halves, strict=True)
    ]
    assert distance(clip, torch.cat(parts, dim=-1)) < CLOSE
    return clip


SCHEDULES = {"static": {}, "uniform": {}, "looped": {"closed_loop": True}, "batched": {}, "view": {}}


@pytest.mark.parametrize("frames", [3, 8])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule(moving, schedule, frames):
    tiled, untiled = (apply(moving, schedule=schedule, **SCHEDULES[schedule]) for apply in (apply_tiles, apply_windows))
    check_halves(tiled, untiled, {}, [{}] * 2, frames)


@pytest.mark.parametrize("windows_at_once", [1, 4])
@pytest.mark.parametrize("reference_until", [0.5, 1.0])
def test_each_tile_follows_its_reference_window(moving, reference_until, windows_at_once):
    more = {"reference_until": reference_until, "windows_at_once": windows_at_once}
    check_halves(apply_tiles(moving, **more), apply_windows(moving, **more), {}, [{}] * 2)


def both_prompts(**extra) -> dict:
    return {"positive": prompt(2, **extra), "negative": prompt(3, **extra)}


def make_frame_prompts() -> tuple[dict, list[dict]]:
    texts = {"positive": [[torch.cat([prompt(seed)[0][0] for seed in range(FRAMES)]), prompt(2)[0][1]]]}
    return texts, [texts] * 2


def make_masked(masks: int) -> tuple[dict, list[dict]]:
    wide = pictures(masks, scale=1)[..., 0]

    def mask(part: torch.Tensor) -> dict:
        (masked,) = nodes.ConditioningSetMask().append(prompt(4), part, "default", 0.7)
        return {"positive": prompt(2) + masked}

    return mask(wide), [mask(half) for half in each_half(wide, 1)]


def make_area() -> tuple[dict, list[dict]]:
    """Inside the first tile, a prompt for an area, whose fading edges are those of the area alone."""
    (area,) = nodes.ConditioningSetArea().append(prompt(4), 40, 64, 8, 0, 1.5)
    both = {"positive": prompt(2) + area}
    return both, [both, {}]


def make_controlled(make: Callable, frames: int) -> tuple[dict, list[dict]]:
    net, wide = make(), pictures(frames)
    return apply_control(net, wide), [apply_control(net, half) for half in each_half(wide)]


def make_partly_denoised() -> tuple[dict, list[dict]]:
    latent, mask = noise(FRAMES, SIDE, 2 * SIDE, seed=3), pictures(FRAMES, scale=1)[..., 0][:, None]
    whole = {"latent_image": latent, "noise_mask": mask}
    return whole, [{key: tensor[..., half] for key, tensor in whole.items()} for half in HALVES]


INPUTS = {
    "a prompt for each frame": make_frame_prompts,
    "a mask for each frame": lambda: make_masked(FRAMES),
    "one mask": lambda: make_masked(1),
    "an area": make_area,
    "a ControlNet": lambda: make_controlled(control_net, FRAMES),
    "a ControlNet with one picture": lambda: make_controlled(control_net, 1),
    "an adapter": lambda: make_controlled(t2i_adapter, FRAMES),
    "a noise mask": make_partly_denoised,
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_are_cut_to_their_tile(moving, name):
    whole, halves = INPUTS[name]()
    tiled = apply_tiles(moving)
    clip = check_halves(tiled, apply_windows(moving), whole, halves)
    assert distance(clip, sample(tiled, noise=noise(FRAMES, SIDE, 2 * SIDE), steps=1)) > 1e-3


def test_the_latents_beside_those_of_an_inpainting_model():
    model = tiny_model(in_channels=9)
    latent, mask = noise(FRAMES, SIDE, 2 * SIDE, seed=3), pictures(FRAMES, scale=1)[..., 0][:, None]

    def beside(part: slice) -> dict:
        return both_prompts(concat_latent_image=latent[..., part], concat_mask=mask[..., part])

    check_halves(apply_tiles(model), apply_windows(model), beside(slice(None)), [beside(half) for half in HALVES])


def test_a_mask_of_motion_strength(plain):
    wide = pictures(FRAMES, scale=4)[..., 0]

    def masked(apply: Callable, mask: torch.Tensor):
        return apply(apply_motion(plain, motion_strength=call(MotionStrengthNode, strength=[1.0], mask=[mask])))

    start = noise(FRAMES, SIDE, 2 * SIDE)
    clip = sample(masked(apply_tiles, wide), noise=start)
    parts = [
        sample(masked(apply_windows, mask), noise=start[..., half])
        for half, mask in zip(HALVES, each_half(wide, 4), strict=True)
    ]
    assert distance(clip, torch.cat(parts, dim=-1)) < CLOSE
    assert distance(clip, sample(masked(apply_tiles, wide.flip(0)), noise=start)) > 1e-3


@pytest.mark.parametrize("frames", [LENGTH, FRAMES])
def test_one_tile_over_the_whole_picture_is_no_tile(moving, frames):
    start = noise(frames, 12, 16)
    tiled, untiled = apply_tiles(moving, size=128, overlap=64), apply_windows(moving)
    assert torch.equal(sample(tiled, noise=start), sample(untiled, noise=start))


def test_every_unit_is_one_window_of_one_tile(moving):
    tiled, seen = record_options(apply_tiles(moving, overlap=32, windows_at_once=1))
    sample(tiled, noise=noise(FRAMES, 12, SIDE), steps=1)
    units = [(call["options"]["loom_tile"].top, tuple(call["options"]["ad_params"]["sub_idxs"])) for call in seen]
    assert units == [(top, window) for top in (0, 4) for window in ((0, 1, 2, 3), (3, 4, 5, 6))]
    assert {call["x"].shape[-2:] for call in seen} == {(SIDE, SIDE)}
    assert len({uuid for call in seen for uuid in call["options"]["uuids"]}) == 2 * len(units)


@pytest.mark.parametrize("overlap", [0, 32])
def test_a_plain_loop_makes_the_same(moving, overlap):
    """Euler's method that goes through the tiles itself, on a model that knows nothing of them."""
    layout, start = TileLayout(8 * SIDE, overlap), noise(LENGTH, 12, 12)
    looped = sample_with_euler(apply_windows(moving), start, weigh_tiles(layout, "pyramid", 12, 12))
    whole = weigh_tiles(TileLayout(), "pyramid", 12, 12)
    assert distance(sample_with_euler(apply_tiles(moving, overlap), start, whole), looped) < CLOSE


def sample_with_euler(model, start: torch.Tensor, tiles) -> torch.Tensor:
    custom = importlib.import_module("comfy_extras.nodes_custom_sampler")
    guider = call(custom.CFGGuider, model=model, positive=prompt(2), negative=prompt(3), cfg=5.0)

    @torch.no_grad()
    def euler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        for now, then in pairwise(sigmas):
            clean = torch.zeros_like(x)
            for weighted in tiles:
                part = model(weighted.tile.cut(x).contiguous(), now.expand(len(x)), **extra_args)
                weighted.tile.cut(clean).add_(part * weighted.weights)
            x = x + (x - clean) / now * (then - now)
        return x

    return guider.sample(start, torch.zeros_like(start), KSAMPLER(euler), torch.tensor([10.0, 3.0, 0.0]))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_constant_prediction_stays_constant(plain, fusion):
    windows = ContextSettings("static", WindowLayout(LENGTH, OVERLAP), fusion, tiles=TileLayout(64, 24))
    latents, sigmas = torch.zeros(FRAMES, 4, 13, 18), torch.tensor([5.0, 0.0])
    options = {"transformer_options": {"sample_sigmas": sigmas}}

    def constant(model, conds, x_in, timestep, model_options):
        assert x_in.shape[-2:] == (8, 8)
        return [torch.full_like(x_in, 3.0) for _ in conds]

    plain.model.current_patcher = plain
    handler = LoomContextHandler((windows,))
    (fused,) = handler.execute(constant, plain.model, [[]], latents, sigmas[0].expand(FRAMES), options)
    assert torch.allclose(fused, torch.full_like(fused, 3.0), atol=1e-5, rtol=0)


def test_tiles_begin_at_their_start(moving):
    late, seen = record_unet(apply_tiles(moving, start_percent=0.5))
    sample(late, noise=noise(LENGTH, SIDE, 2 * SIDE), steps=4)
    widths = [call["x"].shape[-1] for call in seen.calls]
    assert widths[0] == 2 * SIDE and widths[-1] == SIDE


SIDES = st.integers(1, 24)


@settings(max_examples=80)
@given(st.data(), st.booleans())
def test_an_area_counts_in_a_tile_as_in_the_picture(data, masked):
    """The tile shows a part of the weights that the host gives to the area in the whole picture."""
    height, width = data.draw(SIDES), data.draw(SIDES)
    sides = [data.draw(st.integers(1, side)) for side in (height, width, height, width)]
    places = [data.draw(st.integers(0, side - part)) for side, part in zip((height, width) * 2, sides, strict=True)]
    area, tile = (*sides[:2], *places[:2]), Tile(*places[2:], *sides[2:], (height, width))
    x, timestep = torch.zeros(2, 4, height, width), torch.ones(2)
    cond = {"area": area, "strength": 1.5, "model_conds": {}, "uuid": uuid4()}
    if masked:
        cond |= {"mask": torch.rand(2, height, width), "mask_strength": 0.5}
    expected = tile.cut(spread_weights(cond, x, timestep))
    conds = cut_conds([cond], tile, x, timestep)
    actual = sum((spread_weights(each, tile.cut(x), timestep) for each in conds), torch.zeros_like(expected))
    assert torch.allclose(actual, expected)


def spread_weights(cond: dict, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    weighed, weights = comfy.samplers.get_area_and_mult(cond, x, timestep), torch.zeros_like(x)
    height, width, top, left = weighed.area
    weights[..., top : top + height, left : left + width] = weighed.mult
    return weights


@pytest.mark.parametrize("make", [control_net, t2i_adapter])
def test_an_area_across_tiles_with_a_control_net(moving, make):
    """The part of the area in a tile shows the control image at its place."""
    both, wide = apply_control(make(), pictures(FRAMES)), noise(FRAMES, SIDE, 2 * SIDE)
    areas = {role: nodes.ConditioningSetArea().append(cond, 64, 64, 32, 0, 1.0)[0] for role, cond in both.items()}
    clip = sample(apply_tiles(moving), noise=wide, **areas)
    assert clip.isfinite().all()


BOX = ("position", None, [])
REFUSED = {
    "GLIGEN": (lambda: both_prompts(gligen=BOX), "The GLIGEN box of the positive prompt cannot be cut into tiles"),
    "another pack's ControlNet": (
        lambda: both_prompts(control=FrameStrengths([1.0] * FRAMES)),
        r"ControlNet of another pack on the positive prompt \(FrameStrengths\) cannot be cut into tiles",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_cut_is_refused_before_sampling(moving, name):
    make, words = REFUSED[name]
    model, seen = record_unet(apply_tiles(moving))
    with pytest.raises(LoomError, match=words):
        sample(model, noise=noise(FRAMES, SIDE, 2 * SIDE), **make())
    assert not seen.calls


def test_self_attention_guidance_is_refused_in_tiles(moving):
    guided = call(host_node("nodes_sag.SelfAttentionGuidance"), model=moving, scale=0.5, blur_sigma=2.0)
    model, seen = record_unet(apply_tiles(guided))
    with pytest.raises(LoomError, match=r"Self-Attention Guidance reads cannot be cut into tiles. Remove Self-Att"):
        sample(model, noise=noise(LENGTH, SIDE, 2 * SIDE))
    assert not seen.calls


def test_a_tile_smaller_than_the_unet_takes_is_refused(moving):
    with pytest.raises(
        LoomError, match="`tile_size` is 32, but this UNet halves its picture 3 times and needs at leas"
    ):
        sample(apply_tiles(moving, size=32), noise=noise(LENGTH, SIDE, SIDE))


def test_latents_of_another_size_are_refused(plain):
    class OtherFormat:
        spacial_downscale_ratio = 16

    model = replace_latent_format(plain, OtherFormat())
    with pytest.raises(
        LoomError, match="latents are 8 times smaller than the picture, but those of `model` are 16 times"
    ):
        TileLayout().check_model(model)


def replace_latent_format(patcher, latent_format):
    """A stand-in for the host's BaseModel with another latent format."""
    config = patcher.model.model_config
    return type("Model", (), {"latent_format": latent_format, "model_config": config})


@pytest.mark.parametrize(("size", "overlap"), [(100, 0), (64, 64)])
def test_sizes_that_cannot_be_placed_are_refused_by_the_node(moving, size, overlap):
    with pytest.raises(LoomError, match="`tile_size` is"):
        apply_tiles(moving, size=size, overlap=overlap)


def test_memory_is_estimated_for_one_tile(moving):
    shapes = []

    def keep(executor, model, noise_shape, conds, *args, **kwargs):
        shapes.append(list(noise_shape))
        return executor(model, noise_shape, conds, *args, **kwargs)

    tiled = apply_tiles(moving)
    tiled.add_wrapper_with_key("prepare_sampling", "test", keep)
    sample(tiled, noise=noise(FRAMES, SIDE, 2 * SIDE), steps=1)
    assert shapes == [[LENGTH, 4, SIDE, SIDE]]
