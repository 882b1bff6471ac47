"""Files that are no text-to-video motion model, or none that fits together: one sentence each."""

import pytest
import torch
from animatediff_loom.motion_modules.describe import describe
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.sampling.animate import animate
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_motion import file_shapes

from tests.support.host import copy_weights, same_weights, tiny_model
from tests.support.motion_files import SPELLINGS, V2, V3, as_diffusers, cast, weightless
from tests.support.texts import expect_error

BLOCK = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0."
ADVICE = ("'other.ckpt'", "Choose a text-to-video motion model")
SITE = "down_blocks.0.motion_modules.0.temporal_transformer."


def zeros(**shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    return {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}


def lora(name: str) -> dict[str, torch.Tensor]:
    return {BLOCK + name: torch.zeros(4, 32)}


OTHER_FILES = {
    "SparseCtrl": V3.file() | zeros(controlnet_cond_embedding__weight=(32, 5, 3, 3)),
    "SparseCtrl as trained": {"controlnet": zeros(module__controlnet_cond_embedding__conv_in__weight=(16, 4, 3, 3))},
    "FancyVideo by its marker": V3.file() | zeros(FancyVideo=(1,), conv_in__weight=(32, 9, 3, 3)),
    "FancyVideo by its embeddings": V3.file()
    | zeros(fps_embedding__linear__weight=(128, 32), motion_embedding__linear__weight=(128, 32))
    | zeros(conv_in__weight=(32, 9, 3, 3)),
    "HelloMeme": as_diffusers(V3.file()) | zeros(reference_modules_down__0__norm__weight=(32,)),
    "MotionCtrl": {f"module.{name}": tensor for name, tensor in V2.file().items()}
    | {f"module.{BLOCK}cc_projection.weight": torch.zeros(32, 44)},
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_other_kinds_of_file(kind):
    name = next(word for word in kind.replace(",", "").split(" ") if word[0].isupper())
    advice = ("'other.ckpt'", "load it with the Load SparseCtrl node") if name == "SparseCtrl" else ADVICE
    with expect_error(f"is a {name} file", *advice):
        motion_model_from_tensors(OTHER_FILES[kind], "other.ckpt")


MOTION_LORAS = {
    "AnimateDiff v2": lora("attention_blocks.0.processor.to_q_lora.down.weight"),
    "MotionDirector": lora("ff.net.0.processor.proj_lora.up.weight"),
    "PEFT": {"unet.down_blocks.0.motion_modules.0.transformer_blocks.0.attn1.to_q.lora_A.weight": torch.zeros(4, 32)},
}


@pytest.mark.parametrize("kind", MOTION_LORAS)
def test_a_motion_lora_is_sent_to_its_node(kind):
    with expect_error("'other.ckpt' is a motion LoRA", "models/animatediff_motion_lora", "the Motion LoRA node"):
        motion_model_from_tensors(MOTION_LORAS[kind], "other.ckpt")


IMAGE_BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0.attn1."
IMAGE_LORAS = {
    "v3_sd15_adapter": f"{IMAGE_BLOCK}processor.to_q_lora.down.weight",
    "kohya": "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
    "kohya, text encoder": "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",
    "diffusers": f"unet.{IMAGE_BLOCK}to_q.lora_A.weight",
    "diffusers, older": f"unet.{IMAGE_BLOCK}to_q.lora_linear_layer.up.weight",
    "PEFT": f"base_model.model.{IMAGE_BLOCK}to_q.lora_B.default.weight",
    "LoHa": "lora_unet_down_blocks_0_attentions_0_proj_in.hada_w1_a",
    "LoKr": "lora_unet_down_blocks_0_attentions_0_proj_in.lokr_w1",
}


@pytest.mark.parametrize("kind", IMAGE_LORAS)
@pytest.mark.parametrize("wrapped", (True, False))
def test_a_lora_for_the_image_model_is_sent_to_the_node_for_it(kind, wrapped):
    tensors = {IMAGE_LORAS[kind]: torch.zeros(4, 32)}
    with expect_error("'other.ckpt'", "is a LoRA for the image model", IMAGE_LORAS[kind], "the Load LoRA node"):
        motion_model_from_tensors({"state_dict": tensors} if wrapped else tensors, "other.ckpt")


@pytest.mark.parametrize("kind", IMAGE_LORAS)
@pytest.mark.parametrize("spelling", ("original", "diffusers", "training"))
def test_motion_modules_beside_a_lora_for_the_image_model_are_loaded(kind, spelling):
    weights = SPELLINGS[spelling](V3.file())
    alone = motion_model_from_tensors(weights, "alone.ckpt")
    motion_model = motion_model_from_tensors({"lora": {IMAGE_LORAS[kind]: torch.zeros(4, 32)}} | weights, "both.ckpt")
    assert (motion_model.family, motion_model.specs) == (alone.family, alone.specs)
    assert same_weights(motion_model.patcher, copy_weights(alone.patcher))
    assert motion_model.notes == ("the LoRA for the image model in the file is not used",)
    assert "notes: the LoRA for the image model" in describe(motion_model)


@pytest.mark.parametrize(
    "name", ("attention_blocks.0.to_q.lora_A.default.weight", "ff.net.0.processor.proj_lora.up.weight")
)
def test_a_motion_model_with_an_adapter_that_is_not_merged(name):
    with expect_error("'other.ckpt'", "PEFT adapter, that is not merged", "merge_and_unload()"):
        motion_model_from_tensors(V3.file() | lora(name), "other.ckpt")


def test_a_motion_model_as_peft_wraps_it():
    name = "attention_blocks.0.to_q."
    tensors = {key.replace(name, f"{name}base_layer."): tensor for key, tensor in V3.file().items()}
    with expect_error("'other.ckpt'", "PEFT adapter, that is not merged", "merge_and_unload()"):
        motion_model_from_tensors(tensors, "other.ckpt")


def test_a_file_without_motion_modules():
    with expect_error("'other.ckpt'", "no motion modules", "input_blocks.0.0", "Choose an AnimateDiff or Hotshot-XL"):
        motion_model_from_tensors({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(3)}, "other.ckpt")


@pytest.mark.parametrize(
    ("tensors", "fault"),
    (
        ({}, "it is empty"),
        ({"state_dict": {}}, "it has no tensors, but 'state_dict'"),
        ({"global_step": 3}, "it has no tensors, but 'global_step'"),
    ),
)
def test_files_without_weights(tensors, fault):
    with expect_error("'other.ckpt'", "no weights", fault, "Choose another file"):
        motion_model_from_tensors(tensors, "other.ckpt")


@pytest.mark.parametrize(
    ("left_out", "missing", "fault"),
    (
        ("up_blocks", "up_blocks.0.motion_modules.0", "unlike AnimateDiff v3 with its 20 modules"),
        ("down_blocks.3", "up_blocks.3.motion_modules.0", "a motion module at"),
        ("up_blocks.1.motion_modules.2", "up_blocks.1.motion_modules.2", "no motion module at"),
    ),
)
def test_a_part_of_a_motion_model(left_out, missing, fault):
    tensors = {name: tensor for name, tensor in V3.file().items() if not name.startswith(left_out)}
    with expect_error("'half.ckpt'", f"motion module at '{missing}'", fault, "Choose a complete motion model"):
        motion_model_from_tensors(tensors, "half.ckpt")


@pytest.mark.parametrize("levels", (1, 2, 5))
def test_unknown_layouts(levels):
    tensors = weightless(file_shapes((32,) * levels, mid=False, positions=32))
    with expect_error("'odd.ckpt'", f"{levels} levels", "expected 4 levels (SD1.5) or 3"):
        motion_model_from_tensors(tensors, "odd.ckpt")


def changed(name: str, shape: tuple[int, ...] | None) -> dict[str, torch.Tensor]:
    tensors = V3.file()
    tensors.pop(name)
    return tensors if shape is None else tensors | {name: torch.zeros(()).expand(shape)}


@pytest.mark.parametrize(
    ("parameter", "shape", "fault"),
    (
        ("transformer_blocks.0.attention_blocks.1.to_k.weight", (32, 48), "[32, 48]"),
        ("transformer_blocks.0.ff.net.0.proj.weight", (128, 32), "[128, 32]"),
        ("norm.bias", (64,), "[64]"),
        ("proj_out.weight", None, "nothing"),
        ("transformer_blocks.0.norms.1.weight", None, "nothing"),
        ("proj_in.weight", (64, 64), "[32]"),
        ("proj_in.weight", (48, 48), "48 channels"),
        ("proj_in.weight", (32, 32, 1, 1), "do not form a temporal_transformer"),
        ("proj_in.weight", None, "do not form a temporal_transformer"),
        ("transformer_blocks.0.attention_blocks.0.pos_encoder.pe", (1, 24, 32), "[1, 32, 32]"),
        ("transformer_blocks.0.attention_blocks.0.pos_encoder.pe", (1, 32, 64), "[1, 32, 64]"),
        ("transformer_blocks.0.attention_blocks.0.pos_encoder.pe", (32,), "do not form a temporal_transformer"),
    ),
)
def test_shapes_that_contradict_each_other(parameter, shape, fault):
    with expect_error("'odd.ckpt'", "down_blocks.0.motion_modules.0", fault, "Choose another file"):
        motion_model_from_tensors(changed(SITE + parameter, shape), "odd.ckpt")


@pytest.mark.parametrize(
    ("parameter", "fault"),
    (
        ("transformer_blocks.0.extra.weight", "extra.weight"),
        ("transformer_blocks.1.norms.0.weight", "transformer_blocks.1"),
        ("transformer_blocks.0.attention_blocks.2.to_q.weight", "attention_blocks.2"),
        ("transformer_blocks.99999999.norms.0.weight", "100000000 blocks"),
        ("transformer_blocks.0.attention_blocks.99999999.to_q.weight", "100000000 attentions"),
        ("transformer_blocks.x.norms.0.weight", "do not form a temporal_transformer"),
    ),
)
def test_tensors_too_many(parameter, fault):
    tensors = V3.file() | {SITE + parameter: torch.zeros(32)}
    with expect_error("'odd.ckpt'", fault):
        motion_model_from_tensors(tensors, "odd.ckpt")


@pytest.mark.parametrize(
    ("parameter", "shape"),
    (
        ("proj_in.weight", (2**40, 2**20)),
        ("transformer_blocks.0.ff.net.0.proj.weight", (2**31, 32)),
        ("transformer_blocks.0.attention_blocks.0.pos_encoder.pe", (1, 2**30, 32)),
    ),
)
def test_absurd_shapes_allocate_nothing(parameter, shape):
    """No machine could allocate these: that the sentence comes shows that nothing was."""
    with expect_error("'huge.ckpt'", str(max(shape)), "Choose another file"):
        motion_model_from_tensors(changed(SITE + parameter, shape), "huge.ckpt")


def test_absurd_shapes_everywhere():
    tensors = weightless(file_shapes((2**21,) * 4, mid=False, positions=32))
    with expect_error("'huge.ckpt'", "Choose another file"):
        motion_model_from_tensors(tensors, "huge.ckpt")


def test_absurdly_many_positions():
    tensors = weightless(file_shapes((32,) * 4, mid=False, positions=131072))
    with expect_error("'huge.ckpt'", "131072"):
        motion_model_from_tensors(tensors, "huge.ckpt")


@pytest.mark.parametrize("value", (float("nan"), float("inf"), float("-inf")))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float16))
def test_broken_weights(value, dtype):
    name = "up_blocks.3.motion_modules.2.temporal_transformer.proj_out.weight"
    broken, good = cast(V3.file(), dtype), cast(V3.file(), dtype)
    broken[name] = broken[name].clone()
    broken[name][3, 5] = value
    model = tiny_model()
    with expect_error("'broken.ckpt'", "NaN or Inf", name, "Download it again"):
        animate(model, motion_model_from_tensors(broken, "broken.ckpt"), MotionSettings())
    assert animate(model, motion_model_from_tensors(good, "good.ckpt"), MotionSettings()) is not model


fragments = st.sampled_from(("transformer_blocks", "attention_blocks", "proj_in", "pos_encoder", "motion_modules", "0"))


@given(st.sampled_from(sorted(V2.file())), fragments, st.text("0123.abz_", max_size=6), st.integers(0, 3))
@settings(max_examples=60)
def test_any_misspelt_key_loads_or_is_refused(key, fragment, replacement, dimensions):
    tensors = V2.file()
    tensors.pop(key)
    tensors[key.replace(fragment, replacement)] = torch.zeros((32,) * dimensions)
    try:
        assert motion_model_from_tensors(tensors, "odd.ckpt").specs
    except LoomError as error:
        assert "'odd.ckpt'" in str(error)
