"""Rules for every registered architecture, in the host's UNet and in files, and the mathematics of the examples."""

import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from animatediff_loom.motion_modules.architectures.positional_encoding import sinusoidal_positions
from animatediff_loom.motion_modules.architectures.registry import ARCHITECTURES, architectures
from animatediff_loom.motion_modules.attention_tap import ModuleTaps
from animatediff_loom.motion_modules.contract import UNLIMITED, MotionInputs, SiteShape, Views
from animatediff_loom.motion_modules.describe import describe
from animatediff_loom.motion_modules.files.loading import load_motion_model, motion_model_from_tensors
from animatediff_loom.motion_modules.files.saving import save_motion_model
from animatediff_loom.motion_modules.files.untrained import (
    TargetClip,
    create_modules,
    create_motion_model,
    plan_modules,
)
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.sampling.animate import AS_THE_MODEL, animate
from safetensors import safe_open
from safetensors.torch import save_file

from tests.support.host import tiny_dit, tiny_model
from tests.support.motion_files import motion_file
from tests.support.motion_models import (
    CHANNELS,
    FRAMES,
    KEYS,
    SMALL,
    TIME,
    feature_maps,
    motion_inputs,
    random_module,
    random_motion,
    untrained_motion,
)
from tests.support.sampling import evaluate_once, sample
from tests.support.texts import expect_error

EXAMPLES = tuple(key for key in KEYS if key != "temporal_transformer")
every = pytest.mark.parametrize("key", KEYS)
examples = pytest.mark.parametrize("key", EXAMPLES)
bases = pytest.mark.parametrize("base", ("SD1.5", "SDXL"))


def placed(model, motion_model, **settings):
    return animate(model, motion_model, MotionSettings(**settings), AS_THE_MODEL)


@bases
@every
def test_a_new_motion_model_changes_nothing(key, base):
    model = tiny_model(base)
    motion_model = untrained_motion(model, key)
    assert motion_model.family.base == base
    assert {spec.architecture.key for spec in motion_model.specs.values()} == {key}
    still, clip = sample(model, steps=1), sample(placed(model, motion_model), steps=1)
    assert torch.equal(still, clip)


@every
def test_a_saved_motion_model_makes_the_same_clip_bit_for_bit(key, tmp_path: Path):
    model, file = tiny_model(), tmp_path / "mine.safetensors"
    ours = random_motion(model, key)
    save_motion_model(ours, file)
    again = load_motion_model(str(file))
    assert (again.specs, again.family, again.reason) == (ours.specs, ours.family, "its header")
    with safe_open(file, "pt") as opened:
        assert set(opened.keys()) == set(ours.patcher.model.state_dict())
    first, second, still = (sample(m, steps=1) for m in (placed(model, ours), placed(model, again), model))
    assert torch.equal(first, second)
    assert not torch.equal(first, still)


@every
def test_without_a_header_the_names_of_the_tensors_tell(key):
    ours = random_motion(tiny_model(), key)
    again = motion_model_from_tensors(ours.patcher.model.state_dict(), "bare.safetensors")
    assert {n: spec.architecture for n, spec in again.specs.items()} == {
        n: spec.architecture for n, spec in ours.specs.items()
    }
    assert f"architecture: {key}" in describe(again)


def test_a_published_motion_model_keeps_its_family(tmp_path: Path):
    file = tmp_path / "again.safetensors"
    first = motion_model_from_tensors(motion_file(mid=False, positions=24), "v1.safetensors")
    save_motion_model(first, file)
    assert load_motion_model(str(file)).family is first.family


@every
def test_full_widths(key):
    """The widths of SD1.5 and SDXL, and a file of them, without memory for the weights."""
    architecture = ARCHITECTURES[key]
    for channels in (320, 640, 1280):
        config = architecture.config.for_site(SiteShape(channels, 1280, 32))
        module = architecture.module(config, device="meta")
        shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        assert architecture.config.from_shapes(shapes, untrained_motion(tiny_model(), key).family) == config


@every
def test_the_seed_decides_the_weights(key):
    sites = untrained_motion(tiny_model(), key).specs
    before = torch.random.get_rng_state()
    one, same, other = (create_modules(sites, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(torch.random.get_rng_state(), before)


@every
def test_windows_of_frames_are_clips_of_their_own(key):
    """Views whose windows do not overlap give what the windows give alone."""
    module, x = random_module(key), feature_maps(frames=6)
    windows = (torch.arange(3), torch.arange(3, 6))
    weights = tuple(torch.zeros(1, 6, 1).index_fill(1, window, 1.0)[:, window] for window in windows)
    viewed = module(x, motion_inputs(6, views=Views(windows, weights))).unflatten(0, (2, 6))
    whole = x.unflatten(0, (2, 6))
    alone = torch.cat(
        [module(whole[:, w].flatten(0, 1), motion_inputs(3)).unflatten(0, (2, 3)) for w in windows], dim=1
    )
    torch.testing.assert_close(viewed, alone, rtol=0, atol=1e-5)


@every
def test_frames_see_each_other(key):
    module, x = random_module(key), feature_maps()
    other = x.clone()
    other[0] = other[0].flip(0)
    difference = (module(other, motion_inputs()) - module(x, motion_inputs())).abs().amax(dim=(1, 2, 3))
    assert difference[1] > 1e-4, "the next frame"
    assert difference[FRAMES:].max() == 0, "another chunk"


def test_scale_shift_reads_the_timestep():
    module, x = random_module("scale_shift"), feature_maps()
    early, late = (module(x, MotionInputs(FRAMES, time_embedding=torch.full((10, TIME), t))) for t in (0.0, 1.0))
    assert (early - late).abs().max() > 1e-3


def test_the_host_hands_over_the_timestep():
    """Both samplings differ only in the timestep for a module that depends on nothing else."""
    model = tiny_model()
    motion_model = random_motion(model, "scale_shift")
    seen = []
    handles = [
        m.register_forward_hook(lambda _m, a, _r: seen.append(a[1]))
        for m in motion_model.patcher.model.by_site.values()
    ]
    for t in (100, 900):
        evaluate_once(placed(model, motion_model), 3, t)
    for handle in handles:
        handle.remove()
    count = len(handles)
    assert all(arguments.time_embedding.shape == (6, 128) for arguments in seen)
    assert torch.equal(seen[0].time_embedding, seen[count - 1].time_embedding)
    assert not torch.equal(seen[0].time_embedding, seen[count].time_embedding)


def group_norm(module, x: torch.Tensor) -> torch.Tensor:
    return F.group_norm(x, 32, module.norm.weight, module.norm.bias, 1e-6)


def test_scale_shift_by_its_formula():
    module, x, arguments = random_module("scale_shift"), feature_maps(chunks=1), motion_inputs(chunks=1)
    z, heads = group_norm(module, x), module.config.heads
    table = sinusoidal_positions(FRAMES, TIME)[0]
    v = []
    for f in range(FRAMES):
        first, _, last = module.modulation
        s, b = last(F.silu(first(arguments.time_embedding[0] + table[f]))).chunk(2)
        v.append(module.proj_in(((1 + s)[:, None, None] * z[f] + b[:, None, None]).permute(1, 2, 0)))
    for f in range(FRAMES):
        total = v[f].clone()
        for head, part in enumerate(torch.arange(CHANNELS).chunk(heads)):
            weights = module.mixing[head, f, :FRAMES].exp()
            for g in range(FRAMES):
                total[..., part] += weights[g] / weights.sum() * v[g][..., part]
        expected = x[f] + module.proj_out(F.gelu(total)).permute(2, 0, 1)
        torch.testing.assert_close(module(x, arguments)[f], expected, rtol=0, atol=1e-5)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, scale: float = 1.0) -> torch.Tensor:
    """Attend over `[tokens, channels]`, one head after the other."""
    parts = []
    for a, b, c in zip(q.chunk(heads, 1), k.chunk(heads, 1), v.chunk(heads, 1), strict=True):
        parts.append(torch.softmax(scale * a @ b.T / math.sqrt(a.shape[1]), dim=1) @ c)
    return torch.cat(parts, dim=1)


def test_low_rank_attention_by_its_formula():
    module, x = random_module("low_rank_attention"), feature_maps(chunks=1)
    result, z = module(x, motion_inputs(chunks=1, attention_scale=1.2)), group_norm(module, x)
    for row in range(2):
        tokens = z[:, :, row, 1] + module.positions[:FRAMES]
        attended = attention(module.to_q(tokens), module.to_k(tokens), module.to_v(tokens), CHANNELS // 32, 1.2)
        expected = x[:, :, row, 1] + module.to_out(attended * (1 + module.to_scale(tokens)))
        torch.testing.assert_close(result[:, :, row, 1], expected, rtol=0, atol=1e-5)


def test_the_rank_is_read_from_the_shapes():
    config = ARCHITECTURES["low_rank_attention"].config
    shapes = {"to_q.weight": (24, 320), "positions": (40, 320)}
    derived = config.from_shapes(shapes, untrained_motion(tiny_model(), "low_rank_attention").family)
    assert (derived.rank, derived.channels, derived.positions) == (24, 320, 40)


def test_temporal_convolution_by_its_formula():
    module, x = random_module("temporal_convolution"), feature_maps(chunks=1)

    def convolved(layer, z: torch.Tensor, f: int) -> torch.Tensor:
        reach = layer.weight.shape[2] // 2
        inside = [j for j in range(-reach, reach + 1) if 0 <= f + j < FRAMES]
        return layer.bias + sum(layer.weight[:, :, j + reach] @ z[f + j] for j in inside)

    z = group_norm(module, x)[:, :, 1, 2]
    h = torch.stack([F.gelu(convolved(module.conv_in, z, f)) for f in range(FRAMES)])
    for f in range(FRAMES):
        expected = x[f, :, 1, 2] + convolved(module.conv_out, h, f)
        torch.testing.assert_close(module(x, motion_inputs(chunks=1))[f, :, 1, 2], expected, rtol=0, atol=1e-5)


def test_temporal_convolution_takes_clips_of_any_length():
    motion_model = untrained_motion(tiny_model(), "temporal_convolution")
    assert motion_model.positions == UNLIMITED
    assert "any number at once" in describe(motion_model)
    assert (
        random_module("temporal_convolution")(feature_maps(1, 70), motion_inputs(70, 1)).shape
        == feature_maps(1, 70).shape
    )


def test_space_time_attention_by_its_formula():
    module, x = random_module("space_time_attention"), feature_maps(chunks=1)
    z = group_norm(module, x)
    places = [(f, i, j) for f in range(FRAMES) for i in range(2) for j in range(3)]
    tokens = torch.stack([torch.cat([z[f, :, i, j], *map(waves, (f, i, j))]) for f, i, j in places])
    attended = attention(module.to_q(tokens), module.to_k(tokens), module.to_v(tokens), heads=2)
    change = module.to_out(attended * (1 + module.to_scale(tokens)))
    expected = x + change.view(FRAMES, 2, 3, CHANNELS).permute(0, 3, 1, 2)
    torch.testing.assert_close(module(x, motion_inputs(chunks=1)), expected, rtol=0, atol=1e-5)


def waves(number: int) -> torch.Tensor:
    """Return the encoding by which space-time attention knows the number of a frame, row or column."""
    angles = [number / divisor for divisor in (1, 2, 4, 8)]
    return torch.tensor([wave(angle) for wave in (math.sin, math.cos) for angle in angles])


def test_fresh_space_time_attention_looks_at_the_same_place_in_all_frames():
    architecture = ARCHITECTURES["space_time_attention"]
    torch.manual_seed(0)
    module = architecture.module(architecture.config.for_site(SiteShape(CHANNELS, TIME, 8))).requires_grad_(False)
    maps = []

    def watch(call, query, key, value):
        q, k = (part[0].unflatten(-1, (call.heads, -1)).movedim(1, 0) for part in (query, key))
        maps.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1))

    module(feature_maps(1, height=8, width=8), motion_inputs(chunks=1, taps=ModuleTaps((watch,), module)))
    seen = maps[0].mean(0).unflatten(0, (FRAMES, 64)).unflatten(-1, (FRAMES, 64))
    at_the_place = seen.diagonal(dim1=1, dim2=3).mean(-1)
    assert at_the_place.sum(-1).min() > 0.5
    assert at_the_place.max() < 0.5


def test_space_time_attention_has_no_fine_sites():
    """At 512 pixels and 16 frames, first-level sites have 65536 tokens."""
    model = tiny_model()
    motion_model = create_motion_model(model, "space_time_attention")
    assert not any(re.match(r"(down_blocks\.0|up_blocks\.3)\.", name) for name in motion_model.specs)
    assert "down_blocks.1.motion_modules.0" in motion_model.specs
    with expect_error("down_blocks.0.motion_modules.1", "65536 tokens (16 frames of 64 x 64)", "the maximum is 16384"):
        create_motion_model(model, "space_time_attention", sites=["down_blocks.0.motion_modules.1"])
    with expect_error("tokens (16 frames of "):
        create_motion_model(model, "space_time_attention", TargetClip(height=8192, width=8192))


def test_a_latent_that_is_too_large_is_refused_before_sampling():
    model = tiny_model()
    large = torch.zeros(16, 4, 64, 64)
    with expect_error("down_blocks.0.motion_modules.0", "65536 tokens (16 frames of 64 x 64)", "latent smaller"):
        sample(placed(model, untrained_motion(model, "space_time_attention")), steps=1, noise=large)


@pytest.mark.parametrize("key", ("scale_shift", "temporal_convolution"))
def test_attention_scale_without_attention_is_refused(key):
    model = tiny_model()
    with expect_error("`attention_scale` is 1.5", "no attention"):
        placed(model, untrained_motion(model, key), attention_scale=1.5)


@every
def test_a_model_of_other_widths_is_refused(key):
    motion_model, wide = untrained_motion(tiny_model(), key), tiny_model(model_channels=64)
    with expect_error("new " + key, "64 channels at 'down_blocks.0.motion_modules.0', not 32"):
        placed(wide, motion_model)


def test_a_model_of_another_base_is_refused():
    motion_model = untrained_motion(tiny_model(), "scale_shift")
    with expect_error("made for SD1.5", "SDXL"):
        placed(tiny_model("SDXL"), motion_model)
    bare = motion_model_from_tensors(motion_model.patcher.model.state_dict(), "bare.safetensors")
    with expect_error("bare.safetensors", "made for another model", "without the site 'down_blocks.3"):
        placed(tiny_model("SDXL"), bare)


def test_a_model_with_another_timestep_embedding_is_refused():
    """Both are 64 channels wide at the first level, where one begins with 32 channels."""
    one, other = tiny_model(channel_mult=[2, 2, 4, 4]), tiny_model(model_channels=64)
    motion_model = untrained_motion(one, "scale_shift", sites=["down_blocks.0.motion_modules.0"])
    with expect_error("256 timestep channels at 'down_blocks.0.motion_modules.0', not 128"):
        placed(other, motion_model)


def test_a_model_that_is_no_unet_is_refused():
    with expect_error("MMDIT", "need a UNet"):
        create_motion_model(tiny_dit(), "scale_shift")


def test_sites_that_are_not_there_are_refused():
    unet = tiny_model().model.diffusion_model
    with expect_error("down_blocks.9.motion_modules.0"):
        plan_modules(unet, architectures()["scale_shift"], SMALL, ["down_blocks.9.motion_modules.0"])


@examples
def test_a_file_whose_pack_is_missing(key, tmp_path: Path, monkeypatch):
    file = tmp_path / "theirs.safetensors"
    motion_model = untrained_motion(tiny_model(), key)
    save_motion_model(motion_model, file)
    monkeypatch.delitem(ARCHITECTURES, key)
    with expect_error("theirs.safetensors", f"'{key}'", "'AnimateDiff Loom' that provides it is not installed"):
        load_motion_model(str(file))
    with expect_error("bare.safetensors", f"'{key}'", "the custom-node pack that provides it is not installed"):
        motion_model_from_tensors(motion_model.patcher.model.state_dict(), "bare.safetensors")


@pytest.mark.parametrize("entry", ("", "[]", "{}", '{"architectures": {}, "training": {"name": 3}}', "[" * 100000))
def test_a_damaged_header_is_refused(entry, tmp_path: Path):
    file = tmp_path / "damaged.safetensors"
    save_file(motion_file(), file, metadata={"loom_motion_model": entry})
    with expect_error("damaged.safetensors", "loom_motion_model"):
        load_motion_model(str(file))


def test_a_file_that_lost_a_site_is_refused(tmp_path: Path):
    file, motion_model = tmp_path / "cut.safetensors", untrained_motion(tiny_model(), "scale_shift")
    save_motion_model(motion_model, file)
    with safe_open(file, "pt") as opened:
        kept = {n: opened.get_tensor(n) for n in opened.keys() if not n.startswith("up_blocks.1.motion_modules.2")}  # noqa: SIM118
        save_file(kept, tmp_path / "less.safetensors", metadata=opened.metadata())
    with expect_error("less.safetensors", "no motion module at 'up_blocks.1.motion_modules.2'"):
        load_motion_model(str(tmp_path / "less.safetensors"))


def test_two_architectures_at_one_site_are_refused():
    mixed = motion_file() | untrained_motion(tiny_model(), "scale_shift").patcher.model.state_dict()
    with expect_error("both a temporal_transformer and a scale_shift"):
        motion_model_from_tensors(mixed, "mixed.safetensors")


def test_another_family_cannot_be_chosen():
    tensors = untrained_motion(tiny_model(), "scale_shift").patcher.model.state_dict()
    with expect_error("cannot be AnimateDiff v2", "scale_shift"):
        motion_model_from_tensors(tensors, "mine.safetensors", "AnimateDiff v2")
