"""CameraCtrl in a tiny UNet: its formulas, clips of any length, and what does not fit."""

import math
import os
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from animatediff_loom.motion_modules.adapters import camera_ctrl
from animatediff_loom.motion_modules.adapters.camera_ctrl import CAMERA_CTRL, CameraCtrl, CameraCtrlConfig, list_windows
from animatediff_loom.motion_modules.architectures.positional_encoding import sinusoidal_positions
from animatediff_loom.motion_modules.architectures.stacking import Stack, StackConfig
from animatediff_loom.motion_modules.contract import AddedFeatures, MotionInputs
from animatediff_loom.motion_modules.describe import describe
from animatediff_loom.motion_modules.files.adding_adapters import add_camera_file, add_camera_tensors
from animatediff_loom.motion_modules.files.loading import load_motion_model, motion_model_from_tensors
from animatediff_loom.motion_modules.files.replacing import replace_modules
from animatediff_loom.motion_modules.files.saving import WITHOUT, save_motion_model
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.sampling.animate import AS_THE_MODEL, animate
from animatediff_loom.sampling.camera.condition import CameraCondition, follow_path
from animatediff_loom.sampling.camera.keyframes import follow_keyframes
from comfy.cli_args import args
from safetensors.torch import save_file

from tests.support.camera_files import MERGE, POSITIONS, WIDTHS, as_trained, camera_file, encode, scale_of, sites
from tests.support.host import copy_weights, same_weights, tiny_model
from tests.support.motion_files import V2, V3, motion_file
from tests.support.motion_models import apply_windows, random_motion
from tests.support.reference_unet import evaluate_reference, reference_unet
from tests.support.sampling import LATENT_SIZE, distance, evaluate_once, noise, sample
from tests.support.texts import expect_error

MOVES = "0: pan 0 ease_in_out\n100%: pan 25, dolly 1, roll 20, zoom 1.5"
FRAMES, TIMESTEP = 16, 501


def path(frames: int = FRAMES, moves: str = MOVES):
    return follow_keyframes(moves, frames, "linear", 2.0)


def v3():
    return motion_model_from_tensors(V3.file(), "v3.safetensors")


def with_camera(frames: int = FRAMES, strength: float = 1.0, moves: str = MOVES, tensors=None):
    motion_model = add_camera_tensors(v3(), tensors or camera_file(), "camera.ckpt")
    return follow_path(motion_model, path(frames, moves), strength)


def apply(motion_model, plain=None, **settings):
    return animate(plain or tiny_model(), motion_model, MotionSettings(**settings), AS_THE_MODEL)


@pytest.fixture
def double(monkeypatch):
    monkeypatch.setattr(args, "fp64_unet", True)


def rays(frames: int, moves: str = MOVES) -> torch.Tensor:
    side = 8 * LATENT_SIZE
    return CameraCondition(path(frames, moves)).cast_rays(0, frames, side, side)


def add_hooks(reference, strength: float, frames: int) -> None:
    """Let every first temporal attention on the way down and up of the reference see the features of its scale."""
    file = camera_file()
    features = encode(file, rays(frames))
    for site, _ in sites((32, 64, 128, 128)).items():
        p = features[scale_of(site, 4)].permute(2, 3, 0, 1).flatten(0, 1)
        weight, bias = (file[f"{site}.{MERGE}.{part}"].double() for part in ("weight", "bias"))

        def merge(module, positional, named, p=p, weight=weight, bias=bias):
            h = positional[0]
            chunks = len(h) // len(p)
            changed = h + strength * ((h + p.repeat(chunks, 1, 1)) @ weight.T + bias)
            return (changed, *positional[1:]), named

        attention = reference.get_submodule(f"{site}.transformer_blocks.0.attn1")
        attention.register_forward_pre_hook(merge, with_kwargs=True)


def test_16_frames_are_those_of_the_formulas(double):
    strength = 0.7
    plain = tiny_model(dtype=torch.float64)
    call = evaluate_once(apply(with_camera(strength=strength), plain), FRAMES, TIMESTEP)
    reference = reference_unet(plain, V3, V3.file(), FRAMES)
    without = evaluate_reference(reference, call, FRAMES)
    add_hooks(reference, strength, FRAMES)
    expected = evaluate_reference(reference, call, FRAMES)
    assert call["output"].dtype == torch.float64 and len(call["chunks"]) == 2
    assert (call["output"] - expected).abs().max() <= 1e-12
    assert (without - expected).norm() / expected.norm() > 0.05


def encode_clip(frames: int, moves: str = MOVES) -> list[torch.Tensor]:
    module = with_camera(frames, moves=moves).patcher.model.by_adapter[CAMERA_CTRL]
    x = torch.zeros(1, 4, LATENT_SIZE, LATENT_SIZE, dtype=torch.float64)
    return module.encode_clip(CameraCondition(path(frames, moves)), frames, x)


def test_features_of_16_frames(double):
    for ours, theirs in zip(encode_clip(16), encode(camera_file(), rays(16)), strict=True):
        assert (ours - theirs).abs().max() <= 1e-12


def test_features_of_a_long_clip_are_blended_from_windows_that_see_the_first_frame_as_origin(double):
    frames = 40
    windows = [range(start, start + 16) for start in range(0, 25, 4)]
    assert list_windows(frames, 16) == windows
    total = [torch.zeros_like(scale) for scale in encode_clip(frames)]
    weights = torch.zeros(frames, dtype=torch.float64)
    hill = torch.tensor([math.sin(math.pi * (place + 0.5) / 16) ** 2 for place in range(16)], dtype=torch.float64)
    for window in windows:
        part = slice(window.start, window.stop)
        weights[part] += hill
        for whole, scale in zip(total, encode(camera_file(), rays(frames)[part]), strict=True):
            whole[part] += scale * hill.view(-1, 1, 1, 1)
    for ours, whole in zip(encode_clip(frames), total, strict=True):
        assert (ours - whole / weights.view(-1, 1, 1, 1)).abs().max() <= 1e-12


@pytest.mark.parametrize(("frames", "length"), [(1, 16), (16, 16), (17, 16), (64, 16), (65, 16), (5, 1), (7, 3)])
def test_windows_of_the_encoder_cover_every_frame(frames, length):
    windows = list_windows(frames, length)
    assert {frame for window in windows for frame in window} == set(range(frames))
    assert all(len(window) == min(frames, length) for window in windows)


def test_features_of_64_frames_have_no_jump_where_windows_begin():
    """The seam of Video Metrics, the mean step at borders over that elsewhere, for random weights."""
    for scale in encode_clip(64, "100%: pan 90, dolly 1"):
        steps = (scale[1:] - scale[:-1]).flatten(1).norm(dim=1)
        is_border = torch.arange(1, 64) % 4 == 0
        assert float(steps[is_border].mean() / steps[~is_border].mean()) <= 1.05


def test_a_frame_in_a_window_sees_the_camera_of_the_whole_clip(monkeypatch):
    """Both windows equal clips of their frames alone that get their part of the features of the whole clip."""
    frames, length = 8, 4
    plain, motion_model = tiny_model(), with_camera(frames)
    module = motion_model.patcher.model.by_adapter[CAMERA_CTRL]
    whole = module.encode_clip(CameraCondition(path(frames)), frames, noise(1))
    ours = sample(apply_windows(apply(motion_model, plain), "batched", length, 1), frames, steps=1)
    for start in (0, length):
        part = slice(start, start + length)
        monkeypatch.setattr(CameraCtrl, "encode_clip", lambda *_, part=part: [scale[part] for scale in whole])
        theirs = sample(apply(motion_model, plain), length, steps=1, noise=noise(frames)[part])
        assert distance(ours[part], theirs) < 1e-5


@pytest.mark.parametrize("schedule", ("view", "static"))
def test_views_and_windows_run_with_a_camera(schedule):
    model = apply_windows(apply(with_camera(8)), schedule, 4, 2)
    ours, without = sample(model, 8, steps=1), sample(apply_windows(apply(v3()), schedule, 4, 2), 8, steps=1)
    assert ours.isfinite().all() and distance(ours, without) > 1e-3


def test_the_encoder_runs_once_in_a_run(monkeypatch):
    motion_model, calls = with_camera(4), []
    module = motion_model.patcher.model.by_adapter[CAMERA_CTRL]
    encoded = module.encode
    monkeypatch.setattr(type(module), "encode", lambda self, x: calls.append(len(x)) or encoded(x))
    sample(apply(motion_model), 4, steps=3)
    assert calls == [4]


def test_the_rays_of_a_frame_are_cast_once_and_cancelling_stops_between_windows(monkeypatch):
    frames, cast, windows = 40, [], []
    module = with_camera(frames).patcher.model.by_adapter[CAMERA_CTRL]
    ray = torch.zeros(1, 6, 64, 64, dtype=torch.float64)
    condition = SimpleNamespace(cast_rays=lambda first, last, *size: cast.append((first, last)) or ray)
    monkeypatch.setattr(type(module), "encode", lambda self, x: windows.append(len(x)) or [x])
    monkeypatch.setattr(camera_ctrl, "throw_exception_if_processing_interrupted", lambda: cancel(len(windows) == 7))
    module.encode_clip(condition, frames, torch.zeros(1, 4, 8, 8))
    assert cast == [(n, n + 1) for n in range(frames)] and windows == [16] * 7
    with pytest.raises(InterruptedError):
        module.encode_clip(condition, frames, torch.zeros(1, 4, 8, 8))


def cancel(is_cancelled: bool) -> None:
    if is_cancelled:
        raise InterruptedError


def test_strength_0_and_untrained_layers_are_bit_identical_to_no_camera():
    plain, untrained = tiny_model(), {name: 0 * t if "qkv_merge" in name else t for name, t in camera_file().items()}
    still = sample(apply(v3(), plain), 4, steps=1)
    for motion_model in (with_camera(4, strength=0.0), with_camera(4, tensors=untrained)):
        assert torch.equal(sample(apply(motion_model, plain), 4, steps=1), still)


def test_the_two_forms_of_a_file_are_the_same():
    pruned, trained = (
        add_camera_tensors(v3(), each, "camera.ckpt") for each in (camera_file(), as_trained(camera_file()))
    )
    assert pruned.adapters == trained.adapters
    assert isinstance(pruned.adapters[0].config, CameraCtrlConfig)
    assert same_weights(trained.patcher, copy_weights(pruned.patcher))
    assert "needs: a camera path, from Camera Control" in describe(pruned)


def test_saved_and_loaded_again_it_is_the_same(tmp_path):
    motion_model = with_camera(4)
    save_motion_model(motion_model, tmp_path / "mine.safetensors", WITHOUT)
    again = load_motion_model(str(tmp_path / "mine.safetensors"))
    assert (again.adapters, again.family.name) == (motion_model.adapters, "AnimateDiff v3")
    with expect_error("needs a camera path", "Place Camera Control between Load Motion Model and Apply Motion Model"):
        sample(apply(again), 4)
    assert same_weights(again.patcher, copy_weights(motion_model.patcher))
    clips = (sample(apply(each), 4, steps=1) for each in (follow_path(again, path(4), 1.0), motion_model))
    assert distance(*clips) < 1e-5  # weights mapped from a file lie elsewhere in memory


def test_many_paths_copy_no_weights(tmp_path):
    file, motion_model = tmp_path / "camera.safetensors", v3()
    save_file(camera_file(), file)
    first = add_camera_file(motion_model, str(file))
    assert add_camera_file(motion_model, str(file)) is first
    assert add_camera_file(v3(), str(file)) is not first
    save_file(camera_file() | {"encoder_conv_in.bias": torch.ones(WIDTHS[0])}, file)
    os.utime(file, ns=(1, 1))
    again = add_camera_file(motion_model, str(file))
    assert float(again.patcher.model.by_adapter[CAMERA_CTRL].encoder_conv_in.bias.min()) == 1
    assert list(motion_model.extended.values()) == [again]


def test_replacing_modules_keeps_the_camera():
    motion_model = with_camera(4)
    mixed = replace_modules(motion_model, random_motion(tiny_model(), "temporal_convolution"), "mid")
    assert mixed.adapters == motion_model.adapters and mixed.conditions == motion_model.conditions


def test_replacing_modules_that_a_camera_needs_is_refused():
    with expect_error("The CameraCtrl of", "temporal_transformer of 32 channels", "has a temporal_convolution of 32"):
        replace_modules(with_camera(4), random_motion(tiny_model(), "temporal_convolution"), "down_blocks.0")


def test_only_the_first_module_of_a_stack_gets_features():
    seen = []
    kind = SimpleNamespace(module=lambda config, ops: Recorder(seen))
    added = AddedFeatures(torch.zeros(2, 4, 1, 1), before_attention=torch.add)
    Stack(StackConfig((kind, kind), (None, None)))(torch.zeros(2, 4, 1, 1), MotionInputs(2, added=added))
    assert seen == [added, None]


class Recorder(torch.nn.Module):
    def __init__(self, seen: list):
        super().__init__()
        self.seen = seen

    def forward(self, x: torch.Tensor, inputs: MotionInputs) -> torch.Tensor:
        self.seen.append(inputs.added)
        return x


def test_a_motion_model_with_other_modules_is_refused():
    with expect_error("'camera.ckpt' is for a temporal_transformer of 128 channels", "no motion module", "SD1.5"):
        add_camera_tensors(
            motion_model_from_tensors(motion_file((32, 64, 128), positions=32), "xl.ckpt"), camera_file(), "camera.ckpt"
        )
    with expect_error("of 64 channels at 'down_blocks.0.motion_modules.0'", "temporal_transformer of 32 channels"):
        add_camera_tensors(v3(), camera_file((64, 64, 128, 128)), "camera.ckpt")


def without(part: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in camera_file().items() if part not in name}


SITE = "down_blocks.0.motion_modules.0"


@pytest.mark.parametrize(
    ("tensors", "parts"),
    [
        (without("encoder_"), ["the pose encoder is missing"]),
        (without("qkv_merge"), ["the layers qkv_merge of the motion modules are missing"]),
        (without("block2.bias"), ["has nothing as 'adapters.camera_ctrl.encoder_down_conv_blocks.0.0.block2.bias'"]),
        (without(f"{SITE}."), [f"has no layer for '{SITE}'", "complete copy"]),
        (
            {name: tensor for name, tensor in camera_file().items() if not re.match(r"encoder_.*_blocks\.3\.", name)},
            ["the pose encoder has 3 scales, and none for 'down_blocks.3.motion_modules.0'"],
        ),
        (
            camera_file() | {f"{SITE}.{MERGE}.weight": torch.zeros(64, 64), f"{SITE}.{MERGE}.bias": torch.zeros(64)},
            [f"the layer at '{SITE}' has 64 channels, and its scale of the encoder 32"],
        ),
        (V2.file(), ["holds no camera control", "CameraCtrl"]),
    ],
)
def test_a_file_with_missing_parts_names_them(tensors, parts):
    with expect_error("Camera model 'camera.ckpt'", *parts):
        add_camera_tensors(v3(), tensors, "camera.ckpt")


TABLE = "encoder_down_attention_blocks.0.0.attention_blocks.0.pos_encoder.pe"


def forbid_tables(monkeypatch):
    monkeypatch.setattr(camera_ctrl, "choose_positions", lambda *_: pytest.fail("made a table"))


@pytest.mark.parametrize("shape", [(16,), (1, 16, 30), (1, 6000, 1)])
def test_a_table_of_another_shape_is_refused_before_one_is_made(monkeypatch, shape):
    tensors = camera_file() | {TABLE: torch.zeros(shape, dtype=torch.float16)}
    motion_model = v3()
    forbid_tables(monkeypatch)
    with expect_error("Camera model 'camera.ckpt'", "6000 positions" if 6000 in shape else str(list(shape))):
        add_camera_tensors(motion_model, tensors, "camera.ckpt")


def test_a_small_file_makes_no_large_table(monkeypatch):
    attention = TABLE.removesuffix("pos_encoder.pe")
    tensors = {f"{attention}to_q.weight": torch.zeros(6000, 1, dtype=torch.float16), TABLE: torch.zeros(1, 6000, 1)}
    tensors[TABLE] = tensors[TABLE].half()
    motion_model = v3()
    forbid_tables(monkeypatch)
    for load in (motion_model_from_tensors, lambda *file: add_camera_tensors(motion_model, *file)):
        with expect_error("'hostile.ckpt'"):
            load(tensors, "hostile.ckpt")


def test_tables_that_are_missing_or_rounded_are_those_of_the_formula():
    tables = [name for name in camera_file() if name.endswith(".pe")]
    formulas = {name: sinusoidal_positions(POSITIONS, camera_file()[name].shape[2]) for name in tables}
    rounded = camera_file() | {name: table.half() for name, table in formulas.items()}
    for tensors in (rounded, without(".pe")):
        module = with_camera(tensors=tensors).patcher.model.by_adapter[CAMERA_CTRL].state_dict()
        assert all(torch.equal(module[name], formulas[name]) for name in tables)


def test_a_layer_for_the_middle_is_refused():
    shapes = {"merges.mid_block-motion_modules-0.weight": (8, 8), "encoder_down_conv_blocks.0.0.block1.weight": (8, 8)}
    with pytest.raises(ValueError, match=r"no features for 'mid_block.motion_modules.0'"):
        CameraCtrlConfig.from_shapes(shapes)


def test_a_camera_file_as_motion_model_is_sent_to_its_node():
    for file in (camera_file(), as_trained(camera_file())):
        with expect_error("holds CameraCtrl without motion modules, which needs a camera path", "Camera Control"):
            motion_model_from_tensors(file, "camera.ckpt")


def test_a_path_that_is_too_short_is_refused_before_sampling():
    with expect_error("The clip has 6 frames, but the camera path only 4"):
        sample(apply(with_camera(4)), 6)


def test_a_motion_model_without_a_camera_cannot_follow_a_path():
    with expect_error("'v3.safetensors' has no camera control", "Choose a file of CameraCtrl as `camera_model`"):
        follow_path(v3(), path(), 1.0)


def test_odd_sizes_of_the_latent():
    size = (4, 4, 9, 11)
    latent = torch.zeros(size)
    start = torch.randn(size, generator=torch.Generator().manual_seed(1))
    ours = sample(apply(with_camera(4)), 4, steps=1, noise=start, latent_image=latent)
    assert ours.isfinite().all()


def test_the_condition_of_a_clone_stays():
    motion_model = with_camera(4)
    other = replace(motion_model, conditions={CAMERA_CTRL: CameraCondition(path(4, "100%: pan -60"))})
    plain = tiny_model()
    first, second = apply(motion_model, plain), apply(other, plain)
    alone = sample(first, 4, steps=1)
    assert not torch.equal(sample(second, 4, steps=1), alone)
    assert torch.equal(sample(first, 4, steps=1), alone)
