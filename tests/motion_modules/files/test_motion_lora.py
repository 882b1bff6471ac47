"""Motion LoRAs: weights of a motion model that a file changes, by the host's own low-rank adapters."""

import comfy.utils
import pytest
import torch
from animatediff_loom.motion_modules.describe import describe
from animatediff_loom.motion_modules.files.loading import load_motion_model
from animatediff_loom.motion_modules.files.motion_lora import add_motion_lora, load_motion_lora, parse_motion_lora
from animatediff_loom.motion_modules.files.saving import save_motion_model
from animatediff_loom.motion_modules.motion_model import MotionModel

from tests.support.host import tiny_model
from tests.support.motion_files import TINY_WIDTHS, motion_file
from tests.support.motion_loras import (
    RANK,
    SPELLINGS,
    linear_layers,
    motion_lora_file,
    random_factors,
    spell,
)
from tests.support.motion_models import KEYS, apply_motion, load_motion, random_motion
from tests.support.sampling import sample
from tests.support.texts import expect_error

FRAMES = 4
FILE = motion_file()


def lora(tensors: dict | None = None, name: str = "pan.ckpt"):
    return parse_motion_lora(name, motion_lora_file() if tensors is None else tensors)


def weights_of(motion_model: MotionModel) -> dict[str, torch.Tensor]:
    """The weights with which the host samples."""
    patcher = motion_model.patcher
    names = patcher.model.state_dict()
    return {
        name: patcher.patch_weight_to_device(name, return_weight=True) if name in patcher.patches else tensor
        for name, tensor in names.items()
    }


def plain_weights() -> dict[str, torch.Tensor]:
    return weights_of(load_motion())


@pytest.mark.parametrize("alpha", [None, 1.5])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_changes_the_same_weights(spelling, alpha):
    pattern = r"\.(to_\w+|proj|net)\b" if spelling == "MotionDirector" else r"\.to_"
    factors = random_factors(linear_layers(FILE, pattern))
    changed = weights_of(add_motion_lora(load_motion(), lora(spell(factors, spelling, alpha)), strength=0.7))
    scale = 0.7 * (1 if alpha is None else alpha / RANK)
    for name, before in plain_weights().items():
        down, up = factors.get(name.removesuffix(".weight"), (torch.zeros(1, 1), torch.zeros(1, 1)))
        expected = before + scale * up @ down if name.removesuffix(".weight") in factors else before
        assert torch.allclose(changed[name], expected, atol=1e-5), name
    assert len(factors) >= 20 * 8


def test_several_add_up_in_any_order():
    first, second = lora(), lora(motion_lora_file("PEFT", rank=5, seed=1))
    one, other = (
        weights_of(add_motion_lora(add_motion_lora(load_motion(), a, x), b, y))
        for (a, x), (b, y) in [((first, 0.5), (second, -1.0)), ((second, -1.0), (first, 0.5))]
    )
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)
    only_first = weights_of(add_motion_lora(load_motion(), first, 0.5))
    assert any(not torch.allclose(one[name], only_first[name], atol=1e-3) for name in one)


def test_strength_0_changes_nothing():
    motion_model = load_motion()
    assert add_motion_lora(motion_model, lora(), 0.0) is motion_model


def test_branches_never_see_each_other():
    model, motion_model = tiny_model(), load_motion()
    left, right = (add_motion_lora(motion_model, lora(motion_lora_file(seed=seed)), 1.0) for seed in (1, 2))
    before = {name: tensor.clone() for name, tensor in motion_model.patcher.model.state_dict().items()}
    clips = [sample(apply_motion(model, each), FRAMES) for each in (motion_model, left, right)]
    again = [sample(apply_motion(model, each), FRAMES) for each in (right, motion_model, left)]
    assert all(torch.equal(*pair) for pair in zip(clips, [again[1], again[2], again[0]], strict=True))
    assert not torch.equal(clips[0], clips[1]) and not torch.equal(clips[1], clips[2])
    left.patcher.unpatch_model()
    after = motion_model.patcher.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_lora_goes_through_clones_and_beside_other_patches():
    model, changed = tiny_model(), add_motion_lora(load_motion(), lora(), 1.0)
    assert torch.equal(
        sample(apply_motion(model, changed).clone().clone(), FRAMES), sample(apply_motion(model, changed), FRAMES)
    )


def test_only_the_factors_are_stored():
    tensors = motion_lora_file()
    changed = add_motion_lora(load_motion(), lora(tensors), 1.0)
    factors = [
        factor
        for patches in changed.patcher.patches.values()
        for _, adapter, *_ in patches
        for factor in adapter.weights
        if isinstance(factor, torch.Tensor)
    ]
    assert sum(factor.nbytes for factor in factors) == sum(tensor.nbytes for tensor in tensors.values())


def other_adapters(kind: str, layers: dict[str, torch.Size]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return 0.3 * torch.randn(*shape, generator=generator)

    tensors = {}
    for layer, (height, width) in layers.items():
        if kind == "LoHa":
            halves = (("a", (height, 2)), ("b", (2, width)))
            parts = {f"hada_w{n}_{half}": draw(*shape) for n in "12" for half, shape in halves}
        elif kind == "LoKr":
            parts = {"lokr_w1": draw(2, 2), "lokr_w2_a": draw(height // 2, 2), "lokr_w2_b": draw(2, width // 2)}
        elif kind == "DoRA":
            parts = {"lora_up.weight": draw(height, 2), "lora_down.weight": draw(2, width)}
            parts["dora_scale"] = 1 + draw(height, 1).abs()
        else:
            parts = {"diff": draw(height, width)}
        tensors |= {f"{layer}.{name}": tensor for name, tensor in parts.items()}
    return tensors


@pytest.mark.parametrize("kind", ["LoHa", "LoKr", "DoRA", "difference"])
def test_other_adapters_of_the_host_change_weights(kind):
    layers = linear_layers(FILE)
    changed = weights_of(add_motion_lora(load_motion(), lora(other_adapters(kind, layers)), 1.0))
    for name, before in plain_weights().items():
        assert torch.equal(before, changed[name]) != (name.removesuffix(".weight") in layers), name


@pytest.mark.parametrize("key", KEYS)
def test_every_architecture_with_linear_layers_takes_a_lora(key):
    model = tiny_model()
    motion_model = random_motion(model, key)
    layers = linear_layers(motion_model.patcher.model.state_dict(), pattern=".")
    tensors = {
        f"{layer}.lora_{part}.weight": factor
        for layer, pair in random_factors(layers).items()
        for part, factor in zip(("down", "up"), pair, strict=True)
    }
    if not layers:
        with expect_error("changes no layer of motion model"):
            add_motion_lora(motion_model, lora(), 0.3)
        return
    changed = add_motion_lora(motion_model, lora(tensors), 0.3)
    assert changed.loras[0].matched == changed.loras[0].layers == len(layers)
    plain, moved = (sample(apply_motion(model, each), FRAMES) for each in (motion_model, changed))
    assert not torch.equal(plain, moved)


@pytest.mark.parametrize("loras", ["merged", "without"])
def test_a_saved_motion_model_has_its_loras_merged_or_left_out(tmp_path, loras):
    model, motion_model = tiny_model(), load_motion()
    changed = add_motion_lora(motion_model, lora(), 0.8)
    clip = sample(apply_motion(model, changed), FRAMES)  # which leaves patched weights in the host
    save_motion_model(changed, tmp_path / "saved.safetensors", loras)
    saved = load_motion_model(str(tmp_path / "saved.safetensors"))
    expected = clip if loras == "merged" else sample(apply_motion(model, motion_model), FRAMES)
    assert torch.equal(sample(apply_motion(model, saved), FRAMES), expected)


def test_what_does_not_match_is_counted(caplog):
    with_mid = motion_lora_file(mid=True)
    with caplog.at_level("WARNING"):
        changed = add_motion_lora(load_motion(), lora(with_mid), 0.5)
    assert "'pan.ckpt' (strength 0.5): 160 of 168 layers" in caplog.text
    assert "motion LoRAs: 'pan.ckpt' (strength 0.5): 160 of 168 layers" in describe(changed)


V3_ADAPTER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight"
SITE = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0"
REFUSED = {
    "a LoRA for the image model": ({V3_ADAPTER: torch.ones(2, 32)}, "the Load LoRA node"),
    "a motion model": (FILE, "the Load Motion Model node"),
    "no LoRA": ({"conv.weight": torch.ones(1)}, "its first key is 'conv.weight'"),
    "nothing": ({}, "holds no weights (it is empty)"),
    "other layers": ({f"{SITE}.other_lora.down.weight": torch.ones(2, 32)}, "changes no layer"),
    "no site": ({"motion_modules.0.to_q_lora.down.weight": torch.ones(2, 32)}, "name no motion module"),
    "half a factor": (
        {f"{SITE}.attention_blocks.0.processor.to_q_lora.up.weight": torch.ones(32, 2)},
        "lacks the tensor",
    ),
    "other widths": (motion_lora_file(widths=TINY_WIDTHS["SDXL"][1:] * 2), "for the same base model"),
    "two ranks": (
        {
            f"{SITE}.attention_blocks.0.to_q.lora_{part}.weight": torch.ones(shape)
            for part, shape in (("up", (32, 2)), ("down", (3, 32)))
        },
        "cannot be multiplied",
    ),
    "NaN": ({key: tensor * float("nan") for key, tensor in motion_lora_file().items()}, "has a NaN or Inf"),
    "whole numbers": ({key: tensor.int() for key, tensor in motion_lora_file().items()}, "has int32"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(kind, tmp_path):
    tensors, words = REFUSED[kind]
    torch.save(dict(tensors), tmp_path / "lora.ckpt")
    with expect_error("Motion LoRA 'lora.ckpt'", words):
        add_motion_lora(load_motion(), load_motion_lora(str(tmp_path / "lora.ckpt")), 1.0)


def test_a_file_is_read_again_only_when_it_changes(tmp_path):
    path = tmp_path / "lora.safetensors"
    comfy.utils.save_torch_file(motion_lora_file(rank=2), str(path))
    first = load_motion_lora(str(path))
    assert load_motion_lora(str(path)) is first
    comfy.utils.save_torch_file(motion_lora_file(rank=5), str(path))
    assert {tensor.shape for tensor in load_motion_lora(str(path)).tensors.values()} != {
        tensor.shape for tensor in first.tensors.values()
    }


def test_a_damaged_file_is_refused(tmp_path):
    comfy.utils.save_torch_file(motion_lora_file(), str(tmp_path / "lora.safetensors"))
    whole = (tmp_path / "lora.safetensors").read_bytes()
    (tmp_path / "lora.safetensors").write_bytes(whole[: len(whole) // 2])
    with expect_error("Motion LoRA 'lora.safetensors'", "Download it again"):
        load_motion_lora(str(tmp_path / "lora.safetensors"))
