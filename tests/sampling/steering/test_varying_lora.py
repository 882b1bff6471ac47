"""Motion LoRAs with a strength that varies over frames, places, sites and sampling."""

from functools import partial
from itertools import combinations

import pytest
import torch
from animatediff_loom.motion_modules.describe import describe
from animatediff_loom.motion_modules.files.motion_lora import add_motion_lora
from animatediff_loom.motion_modules.files.saving import MERGED, WITHOUT, save_motion_model
from animatediff_loom.motion_modules.motion_model import MotionModel

from tests.motion_modules.files.test_motion_lora import FILE, lora, other_adapters, weights_of
from tests.sampling.steering.test_strength import HALF, strength, watched
from tests.support.motion_loras import Factors, linear_layers, motion_lora_file, random_factors, spell
from tests.support.motion_models import KEYS, apply_motion, apply_windows, load_motion, random_motion
from tests.support.sampling import distance, fail_during, sample
from tests.support.texts import expect_error

FRAMES = 6
ONES = {"frame_curve": "0: 1, 5: 1"}
LEVELS = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]
SITE = "down_blocks.1.motion_modules.0"
ROWS = ["attention_blocks.1.to_q", "attention_blocks.1.to_out.0", "ff.net.0.proj", "ff.net.2"]  # act frame by frame


@pytest.fixture(scope="module")
def motion() -> MotionModel:
    return load_motion()


def kohya(factors: Factors) -> dict[str, torch.Tensor]:
    return {
        f"{layer}.lora_{part}.weight": factor
        for layer, pair in factors.items()
        for part, factor in zip(("down", "up"), pair, strict=True)
    }


def lora_on(layer: str):
    name = f"{SITE}.temporal_transformer.transformer_blocks.0.{layer}"
    return lora(kohya(random_factors({name: FILE[f"{name}.weight"].shape})))


def change_at_site(model) -> torch.Tensor:
    (seen,) = [each for each in watched(model, steps=1) if each["site"] == SITE]
    return seen["moved"] - seen["x"]


@pytest.mark.parametrize("schedule", [None, "static", "looped", "view"])
def test_a_curve_of_1_is_the_lora_in_windows_and_without(model, motion, schedule):
    clips = []
    for varied in (None, strength(**ONES)):
        moving = apply_motion(model, add_motion_lora(motion, lora(), 0.7, varied))
        clips.append(sample(apply_windows(moving, schedule) if schedule else moving, FRAMES))
    assert distance(*clips) < 1e-5


@pytest.mark.parametrize("key", [key for key in KEYS if key != "temporal_convolution"])
def test_a_curve_of_1_is_the_lora_in_every_architecture(model, key):
    motion_model = random_motion(model, key)
    layers = linear_layers(motion_model.patcher.model.state_dict(), pattern=".")
    changed = lora(kohya(random_factors(layers)))
    clips = [
        sample(apply_motion(model, add_motion_lora(motion_model, changed, 0.3, varied)), FRAMES)
        for varied in (None, strength(**ONES))
    ]
    assert distance(*clips) < 1e-4 * float(clips[0].abs().max())
    assert distance(clips[0], sample(apply_motion(model, motion_model), FRAMES)) > 1e-2


@pytest.mark.parametrize("inputs", [{"frame_curve": "0: 0"}, {"progress_curve": "0: 0"}, {"strength": 0.0} | ONES])
def test_a_curve_of_0_is_bit_identical_to_no_lora(model, motion, inputs):
    changed = add_motion_lora(motion, lora(), 0.7, strength(**inputs))
    assert torch.equal(sample(apply_motion(model, changed), FRAMES), sample(apply_motion(model, motion), FRAMES))


@pytest.mark.parametrize("layer", ROWS)
def test_each_frame_has_the_weights_of_its_strength(model, motion, layer):
    """These layers act frame by frame, so that a frame of strength 1 is that of the LoRA, one of 0 that without."""
    changed, alone = (add_motion_lora(motion, lora_on(layer), 2.0, each) for each in (strength(levels=LEVELS), None))
    varied, whole, none = (change_at_site(apply_motion(model, each)) for each in (changed, alone, motion))
    on = torch.tensor(LEVELS * 2).bool()
    assert torch.allclose(varied[on], whole[on], atol=1e-5) and torch.allclose(varied[~on], none[~on], atol=1e-6)
    assert not torch.allclose(whole, none, atol=1e-3)


def test_a_mask_keeps_the_lora_to_its_half(model, motion):
    changed, alone = (add_motion_lora(motion, lora(), 2.0, each) for each in (strength(mask=HALF[None]), None))
    first = "down_blocks.0.motion_modules.0"
    varied, whole, none = (
        next(each["moved"] for each in watched(apply_motion(model, each)) if each["site"] == first)
        for each in (changed, alone, motion)
    )
    assert torch.allclose(varied[..., :4], whole[..., :4], atol=1e-4)
    assert torch.allclose(varied[..., 4:], none[..., 4:], atol=1e-4) and not torch.allclose(whole, none, atol=1e-2)


@pytest.mark.parametrize(("schedule", "at_once"), [("static", 1), ("static", 4), ("looped", 4), ("view", 4)])
def test_windows_follow_the_frames_of_the_clip(model, motion, schedule, at_once):
    """In the only evaluation, frames of strength 0 are those without the LoRA, the others those with it."""
    levels = [*LEVELS, 1.0, 0.0, 1.0]

    def change(varied):
        moving = apply_motion(model, add_motion_lora(motion, lora_on(ROWS[1]), 3.0, varied))
        seen = watched(apply_windows(moving, schedule, windows_at_once=at_once), len(levels), cfg=1.0)
        return torch.cat([each["moved"] - each["x"] for each in seen if each["site"] == SITE])

    varied, whole, none = map(change, (strength(levels=levels), None, strength(frame_curve="0: 0")))
    differs = (varied - none).abs().amax((1, 2, 3)) > 1e-4
    assert torch.equal(differs, (whole - varied).abs().amax((1, 2, 3)) < 1e-5) and 0 < differs.sum() < len(differs)
    assert schedule != "view" or differs.tolist() == [level > 0 for level in levels]


def test_progress_turns_it_on_and_off(model, motion):
    """The second of two steps begins after 30 % of the schedule."""
    clips = [
        sample(
            apply_motion(model, add_motion_lora(motion, lora(), 0.7, strength(progress_curve=curve))), FRAMES, cfg=1.0
        )
        for curve in ("0: 1", "0: 1 hold, 0.3: 0", "0: 0 hold, 0.3: 1", "0: 0")
    ]
    assert all(distance(*pair) > 1e-5 for pair in combinations(clips, 2))


def test_sites_alone_patch_weights(motion):
    values = strength(strength=0.5, sites="down.*: 0, up.1: 2", levels=[0.5])
    changed, whole = add_motion_lora(motion, lora(), 1.0, values), add_motion_lora(motion, lora(), 0.5)
    before, half, after = weights_of(motion), weights_of(whole), weights_of(changed)
    assert changed.varying_loras == () and not changed.loras[0].varies
    for name in before:
        expected = (
            torch.lerp(before[name], half[name], _factor(name)) if half[name].is_floating_point() else before[name]
        )
        assert torch.allclose(after[name], expected, atol=1e-5), name


def _factor(name: str) -> float:
    return 0.0 if name.startswith("down") else 1.0 if name.startswith("up_blocks.1") else 0.5


def test_several_add_up_and_branches_never_see_each_other(model, motion):
    first, second = lora(), lora(motion_lora_file("PEFT", rank=5, seed=1))
    patched = add_motion_lora(add_motion_lora(motion, first, 0.5), second, -1.0)
    one, both = (
        add_motion_lora(add_motion_lora(motion, first, 0.5, strength(**ONES)), second, -1.0, varied)
        for varied in (None, strength(**ONES))
    )
    before, *clips = (sample(apply_motion(model, each), FRAMES, cfg=1.0) for each in (motion, patched, one, both))
    assert max(distance(clips[0], other) for other in clips[1:]) < 1e-5
    assert torch.equal(sample(apply_motion(model, motion), FRAMES, cfg=1.0), before)


def test_nothing_stays_on_the_layers_after_a_failure(model, motion):
    changed = add_motion_lora(motion, lora(), 0.7, strength(**ONES))
    with pytest.raises(ZeroDivisionError):
        sample(fail_during(apply_motion(model, changed)), FRAMES)
    assert not any(module._forward_hooks for module in motion.patcher.model.modules())


def test_the_strength_of_both_the_lora_and_the_motion_model(model, motion):
    changed = add_motion_lora(motion, lora(), 0.7, strength(**ONES))
    whole = add_motion_lora(motion, lora(), 0.7)
    both = {"motion_strength": strength(levels=LEVELS), "motion_attention_scale": strength(levels=LEVELS)}
    clips = [sample(apply_motion(model, each, **both), FRAMES) for each in (changed, whole)]
    assert distance(*clips) < 1e-5


@pytest.mark.parametrize(
    ("kind", "words"),
    [("LoHa", "is a LoHa"), ("LoKr", "is a LoKr"), ("DoRA", "is a DoRA"), ("difference", "has a whole difference for")],
)
def test_other_adapters_cannot_vary(motion, kind, words):
    other = lora(other_adapters(kind, linear_layers(FILE)))
    with expect_error(f"Motion LoRA 'pan.ckpt' {words}", "so its strength cannot vary", "Disconnect `motion_strength`"):
        add_motion_lora(motion, other, 1.0, strength(**ONES))
    assert add_motion_lora(motion, other, 1.0, strength(strength=0.5)).loras


def test_alpha_counts(model, motion):
    scaled = lora(spell(random_factors(linear_layers(FILE)), alpha=1.5))
    clips = [
        sample(apply_motion(model, add_motion_lora(motion, scaled, 0.7, varied)), FRAMES)
        for varied in (None, strength(**ONES))
    ]
    assert distance(*clips) < 1e-5


def test_what_is_refused(model, motion, tmp_path):
    changed = add_motion_lora(motion, lora(), 0.7, strength(levels=[1.0, 0.5]))
    with expect_error("`levels` of Motion Strength has 2 values, but the clip has 6 frames"):
        sample(apply_motion(model, changed), FRAMES)
    with expect_error("`sites` has 'up.9', which matches no site of motion model 'motion"):
        add_motion_lora(motion, lora(), 0.7, strength(sites="up.9: 1"))
    save = partial(save_motion_model, changed, tmp_path / "saved.safetensors")
    with expect_error("The strength of motion LoRA 'pan.ckpt' varies, which weights in a file cannot"):
        save(MERGED)
    save(WITHOUT)
    assert "'pan.ckpt' (strength 0.7, varying): 160 of 160 layers" in describe(changed)


def test_layers_whose_frames_cannot_be_told(model):
    """In views, scale and shift of the timestep are those of a window, whichever frames it holds."""
    motion_model = random_motion(model, "scale_shift")
    changed = lora(kohya(random_factors(linear_layers(motion_model.patcher.model.state_dict(), pattern="."))))
    moving = apply_motion(model, add_motion_lora(motion_model, changed, 0.3, strength(levels=LEVELS)))
    with expect_error("differs between frames or places, but the layer 'modulation.0' at", "Use one strength for all"):
        sample(apply_windows(moving, "view"), FRAMES)


def test_a_layer_that_is_not_called(model, motion, monkeypatch):
    layer = motion.patcher.model.by_site[SITE].transformer_blocks[0].attention_blocks[1].to_out
    monkeypatch.setitem(layer._modules, "0", UsedByItsWeight(layer[0]))
    with expect_error("varies, but the layer 'transformer_blocks.0.attention_blocks.1.to_out.0' at", "is not called"):
        sample(apply_motion(model, add_motion_lora(motion, lora_on(ROWS[1]), 1.0, strength(**ONES))), FRAMES)


class UsedByItsWeight(torch.nn.Linear):
    def __init__(self, layer):
        super().__init__(1, 1)
        self.weight, self.bias = layer.weight, layer.bias

    def __call__(self, x):
        return torch.nn.functional.linear(x, self.weight, self.bias)
