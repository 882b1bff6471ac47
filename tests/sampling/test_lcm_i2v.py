"""AnimateLCM-I2V in a tiny UNet: its formulas, context windows, tiles, and what does not fit."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from animatediff_loom.motion_modules.adapters.conditions import put_condition
from animatediff_loom.motion_modules.adapters.lcm_i2v import LCM_I2V, LcmI2vCondition, LcmI2vConfig
from animatediff_loom.motion_modules.describe import describe
from animatediff_loom.motion_modules.files.loading import load_motion_model, motion_model_from_tensors
from animatediff_loom.motion_modules.files.saving import WITHOUT, save_motion_model
from animatediff_loom.motion_modules.run_state import CONDITIONS
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.nodes.image_to_video import ImageToVideo
from animatediff_loom.nodes.load_loom_mini import LoadLoomMini
from animatediff_loom.sampling.animate import AS_THE_MODEL, animate
from animatediff_loom.sampling.image_to_video.insertion import read_weights
from comfy.cli_args import args

from tests.support.host import copy_weights, same_weights, tiny_model
from tests.support.motion_files import LCM, TINY_WIDTHS, Tensors, lcm_i2v_file
from tests.support.motion_models import apply_windows
from tests.support.reference_unet import evaluate_reference, reference_unet
from tests.support.sampling import LATENT_SIZE, distance, evaluate_once, noise, random_pictures, record_unet, sample
from tests.support.texts import expect_error

FRAMES, TIMESTEP = 5, 501
DRIFT, WEIGHTS = 0.7, (1.0, 0.5, 0.0, 0.8)


def picture(size: int = LATENT_SIZE, seed: int = 5) -> torch.Tensor:
    return torch.randn(4, size, size, generator=torch.Generator().manual_seed(seed))


def load(tensors: Tensors | None = None):
    return motion_model_from_tensors(tensors or lcm_i2v_file(), "AnimateLCM_sd15_i2v.ckpt")


def i2v_model(plain, condition: LcmI2vCondition | None, **settings):
    model = animate(plain, load(), MotionSettings(**settings), AS_THE_MODEL)
    if condition is not None:
        put_condition(model, LCM_I2V, condition)
    return model


def encode(latent: torch.Tensor, frames: int, drift: float) -> list[torch.Tensor]:
    """The features of reference F.4, in float64."""
    file = {name: tensor.double() for name, tensor in lcm_i2v_file().items()}

    def convolve(x, layer, padding=0):
        return F.conv2d(x, file[f"img_encoder.{layer}.weight"], file[f"img_encoder.{layer}.bias"], padding=padding)

    x = convolve(latent.double().repeat(frames, 1, 1, 1), "conv_in", 1)
    width = x.shape[1]
    for frame in range(frames):
        for channel in range(width):
            angle = torch.tensor(frame / 10000 ** ((channel - channel % 2) / width), dtype=torch.float64)
            x[frame, channel] += drift * (angle.cos() if channel % 2 else angle.sin())
    features = []
    for number in range(8):
        if number in (2, 4, 6):
            x = F.avg_pool2d(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="replicate"), 2)
        if f"img_encoder.body.{number}.in_conv.weight" in file:
            x = convolve(x, f"body.{number}.in_conv")
        x = x + convolve(convolve(x, f"body.{number}.block1", 1).relu(), f"body.{number}.block2")
        if number % 2:
            features.append(x)
    return features


def outputs(dtype: torch.dtype):
    plain = tiny_model(dtype=dtype)
    call = evaluate_once(i2v_model(plain, LcmI2vCondition(picture(), DRIFT, WEIGHTS)), FRAMES, TIMESTEP)
    motion = {name: tensor for name, tensor in lcm_i2v_file().items() if not name.startswith("img_encoder")}
    reference = reference_unet(plain, LCM, motion, FRAMES)
    without = evaluate_reference(reference, call, FRAMES)
    for level, (features, weight) in enumerate(zip(encode(picture(), FRAMES, DRIFT), WEIGHTS, strict=True)):
        weighted = (weight * features).to(dtype)

        def add(module, positional, weighted=weighted):
            hidden, *rest = positional
            return (hidden + weighted.repeat(len(hidden) // FRAMES, 1, 1, 1), *rest)

        reference.get_submodule(f"down_blocks.{level}.motion_modules.1").register_forward_pre_hook(add)
    return call["output"], evaluate_reference(reference, call, FRAMES), without


def test_float32():
    ours, reference, without = outputs(torch.float32)
    assert (ours - reference).abs().max() <= 1e-5
    assert (without - reference).norm() / reference.norm() > 0.1


def test_float64(monkeypatch):
    monkeypatch.setattr(args, "fp64_unet", True)
    ours, reference, _ = outputs(torch.float64)
    assert ours.dtype == torch.float64
    assert (ours - reference).abs().max() <= 1e-12


@pytest.mark.parametrize("frames", (5, 20))
def test_features_of_a_latent_with_odd_sides(frames):
    """20 frames are encoded in two parts."""
    encoder = load().patcher.model.by_adapter[LCM_I2V].double()
    condition = LcmI2vCondition(picture(size=9), DRIFT)
    ours = encoder.encode_clip(condition, frames, torch.zeros(1, 4, 9, 9, dtype=torch.float64))
    assert [tuple(each.shape[2:]) for each in ours] == [(9, 9), (5, 5), (3, 3), (2, 2)]
    for each, reference in zip(ours, encode(picture(size=9), frames, DRIFT), strict=True):
        assert (each - reference).abs().max() <= 1e-12


@pytest.mark.parametrize("prefix", ("", "module."))
def test_the_published_file_loads_whole(prefix):
    file = {prefix + name: tensor for name, tensor in lcm_i2v_file().items()}
    motion_model = load(file)
    assert motion_model.family.name == "AnimateLCM-I2V" and not motion_model.notes
    assert [(each.adapter.key, each.config) for each in motion_model.adapters] == [
        (LCM_I2V, LcmI2vConfig(TINY_WIDTHS["SD1.5"]))
    ]
    weights = motion_model.patcher.model.state_dict()
    encoder = {name.partition("img_encoder.")[2]: file[name] for name in file if "img_encoder" in name}
    loaded = {name.removeprefix("adapters.lcm_i2v."): weights[name] for name in weights if "lcm_i2v" in name}
    assert loaded.keys() == encoder.keys()
    assert all(torch.equal(loaded[name], encoder[name]) for name in encoder)
    text = describe(motion_model)
    assert "needs: a reference picture, from Image To Video" in text
    assert "settings: sampler_name lcm, scheduler sgm_uniform, steps 4, cfg 1" in text


def test_saved_and_loaded_again_it_is_the_same(tmp_path):
    motion_model = load()
    save_motion_model(motion_model, tmp_path / "mine.safetensors", WITHOUT)
    again = load_motion_model(str(tmp_path / "mine.safetensors"))
    assert (again.family, again.adapters) == (motion_model.family, motion_model.adapters)
    assert same_weights(again.patcher, copy_weights(motion_model.patcher))


@pytest.mark.parametrize(
    ("changes", "fault"),
    (
        ({"img_encoder.later.weight": torch.zeros(3)}, "has [3] as 'adapters.lcm_i2v.later.weight', expected nothing"),
        ({"img_encoder.body.7.block2.bias": torch.zeros(3)}, "has [3] as 'adapters.lcm_i2v.body.7.block2.bias'"),
    ),
)
def test_other_layers_in_the_encoder_are_refused(changes, fault):
    with expect_error(fault):
        load(lcm_i2v_file() | changes)


@pytest.mark.parametrize("windows_at_once", (1, 4))
def test_in_windows_a_frame_has_the_features_of_its_number_in_the_clip(monkeypatch, windows_at_once):
    """Both windows of a clip equal clips of their frames alone, with the features of these frames of the clip."""
    frames, length = 8, 4
    model = i2v_model(tiny_model(), LcmI2vCondition(picture(), DRIFT))
    encoder = model.get_additional_models()[0].model.by_adapter[LCM_I2V]
    features = encode(picture(), frames, DRIFT)
    ours = sample(apply_windows(model, "batched", length, 1, windows_at_once=windows_at_once), frames, steps=1)
    for start in (0, length):
        part = slice(start, start + length)
        monkeypatch.setattr(encoder, "encode_clip", lambda *inputs, part=part: [level[part] for level in features])
        theirs = sample(model, length, steps=1, noise=noise(frames)[part])
        assert distance(ours[part], theirs) < 1e-5


def test_the_encoder_runs_once_in_a_run(monkeypatch):
    model = apply_windows(i2v_model(tiny_model(), LcmI2vCondition(picture(), DRIFT)), "batched", 4, 1)
    encoder = model.get_additional_models()[0].model.by_adapter[LCM_I2V]
    calls = []
    encode_once = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda *inputs: calls.append(1) or encode_once(*inputs))
    sample(model, 8, steps=2)
    assert len(calls) == 1


def test_the_picture_is_cut_to_each_tile():
    """Without overlap, a picture of two tiles is two pictures."""
    plain, halves = tiny_model(), [picture(seed=seed) for seed in (5, 6)]
    start = torch.cat((noise(FRAMES), noise(FRAMES, seed=2)), dim=-1)
    wide = LcmI2vCondition(torch.cat(halves, dim=-1), DRIFT)
    tiles = {"tiles": "by size", "tile_size": 8 * LATENT_SIZE, "tile_overlap": 0}
    clip = sample(apply_windows(i2v_model(plain, wide), length=FRAMES, tiles=tiles), noise=start, steps=1)
    alone = [
        sample(i2v_model(plain, replace(wide, latent=half)), noise=part, steps=1)
        for half, part in zip(halves, start.split(LATENT_SIZE, dim=-1), strict=True)
    ]
    assert distance(clip, torch.cat(alone, dim=-1)) < 2e-5


def test_weights_of_0_are_bit_identical_to_the_motion_modules_alone():
    plain = tiny_model()
    motion = {name: tensor for name, tensor in lcm_i2v_file().items() if not name.startswith("img_encoder")}
    alone = animate(plain, load(motion), MotionSettings(), AS_THE_MODEL)
    off = i2v_model(plain, LcmI2vCondition(picture(), DRIFT, (0.0,) * 4))
    assert torch.equal(sample(off, FRAMES, steps=1), sample(alone, FRAMES, steps=1))
    still = i2v_model(plain, None, strength=0.0)
    assert torch.equal(sample(still, FRAMES, steps=1), sample(plain, FRAMES, steps=1))


def test_without_a_picture_the_run_is_refused_by_the_name_of_the_node():
    model, seen = record_unet(i2v_model(tiny_model(), None))
    with expect_error("(AnimateLCM-I2V) needs a reference picture", "Image To Video"):
        sample(model, FRAMES)
    assert not seen.calls


def test_a_latent_of_another_size_is_refused():
    with expect_error("The latent is 8 x 8, but the picture of AnimateLCM-I2V is 4 x 4"):
        sample(i2v_model(tiny_model(), LcmI2vCondition(picture(size=4))), FRAMES)


def test_other_base_models_are_refused():
    with expect_error("is made for SD1.5, but `model` is SDXL"):
        i2v_model(tiny_model("SDXL"), None)
    with expect_error("is made for SD1.5, but `model` is SD2"):
        i2v_model(tiny_model("SD2"), None)


@pytest.fixture(scope="module")
def vae():
    return LoadLoomMini.execute().result[2]


def make(vae, method=None, **pictures):
    model = i2v_model(tiny_model(), None)
    return ImageToVideo.execute(model, vae, 64, 64, FRAMES, method or {"method": "auto"}, **pictures).result


def condition_of(model) -> LcmI2vCondition:
    return model.model_options["transformer_options"][CONDITIONS][LCM_I2V]


def test_the_node_chooses_the_encoder_by_itself(vae):
    start = random_pictures(1)
    model, latent = make(vae, start_image=start)
    assert latent["samples"].shape == (FRAMES, 4, 8, 8) and not latent["samples"].any()
    condition = condition_of(model)
    assert (condition.reference_drift, condition.insertion_weights) == (0.8, (1.0,) * 4)
    torch.testing.assert_close(condition.latent, 0.18215 * vae.encode(start)[0])


def test_its_own_inputs(vae):
    method = {"method": "AnimateLCM-I2V", "reference_drift": 0.3, "insertion_weights": "1, 0.5, 0.2, 0"}
    model, _ = make(vae, method, start_image=random_pictures(1), start_strength=0.5)
    condition = condition_of(model)
    assert (condition.reference_drift, condition.insertion_weights) == (0.3, (0.5, 0.25, 0.1, 0.0))


def test_weights_are_one_number_or_four():
    assert read_weights("0.5") == (0.5,) * 4
    assert read_weights("1, 2\uff0c3\n4") == (1, 2, 3, 4)
    for text in ("1, 2", ""):
        with expect_error("`insertion_weights` has", "Write one for all down blocks or 4"):
            read_weights(text)


def test_other_pictures_than_the_first_are_refused(vae):
    with expect_error("AnimateLCM-I2V takes one picture, for frame 0, but the node has pictures at frames 0, 4"):
        make(vae, start_image=random_pictures(1), end_image=random_pictures(1))
    with expect_error("the node has 1 picture at frame 4", "Connect `start_image` alone"):
        make(vae, end_image=random_pictures(1))
