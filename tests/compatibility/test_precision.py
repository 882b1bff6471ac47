"""UNets and motion models stored or computed in few bits, and weights that stay outside the device until used."""

from copy import deepcopy

import comfy.model_base
import comfy.model_patcher
import comfy.sampler_helpers
import comfy.supported_models
import pytest
import torch
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from comfy.model_management import unload_all_models

from tests.support.host import CPU, tiny_model, unet_config
from tests.support.motion_files import cast, motion_file
from tests.support.motion_models import apply_motion, load_motion
from tests.support.sampling import distance, ksampler, load_lora, noise, prompt

FP8 = torch.float8_e4m3fn
STORED = [torch.float16, torch.bfloat16, FP8, torch.float8_e5m2]


def stored_model(dtype: torch.dtype, compute: torch.dtype | None):
    """The tiny model with weights in `dtype`, computed in `compute` as the host casts them."""
    config = unet_config("SD1.5")
    kind = comfy.supported_models.SD15(deepcopy(config))
    kind.unet_config = config
    kind.set_inference_dtype(dtype, compute)
    unet, weights = kind.get_model({}, device=CPU), dict(tiny_model().model.diffusion_model.named_parameters())
    for name, weight in unet.diffusion_model.named_parameters():
        weight.data = weights[name].to(dtype)
    return comfy.model_patcher.CoreModelPatcher(unet, CPU, CPU)


def rounded_model(dtype: torch.dtype):
    """The tiny model in float32 with weights rounded to `dtype`."""
    model = tiny_model()
    for weight in model.model.diffusion_model.parameters():
        weight.data = weight.to(dtype).float()
    return model


@pytest.mark.parametrize("dtype", STORED)
def test_a_unet_stored_in_few_bits(dtype):
    moves, start = load_motion(), stored_model(dtype, torch.float32)
    clip = ksampler(apply_motion(start, moves))
    assert distance(clip, ksampler(apply_motion(rounded_model(dtype), moves))) < 1e-5
    assert distance(clip, ksampler(start)) > 1e-3


@pytest.mark.parametrize("file_dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_unet_computed_in_few_bits(model, dtype, file_dtype):
    moves = motion_model_from_tensors(cast(motion_file(), file_dtype), "motion.safetensors")
    clip = ksampler(apply_motion(stored_model(dtype, None), moves), steps=1)
    assert distance(clip, ksampler(apply_motion(model, moves), steps=1)) < 0.1
    assert distance(clip, ksampler(stored_model(dtype, None), steps=1)) > 0.1


@pytest.mark.parametrize("dtype", STORED)
def test_a_motion_file_in_few_bits(model, moving, dtype):
    tensors = motion_file()
    few = motion_model_from_tensors(cast(tensors, dtype), "few.safetensors")
    tables = {name: tensor for name, tensor in tensors.items() if name.endswith(".pe")}
    rounded = motion_model_from_tensors(cast(cast(tensors, dtype), torch.float32) | tables, "rounded.safetensors")
    clip = ksampler(apply_motion(model, few))
    assert distance(clip, ksampler(apply_motion(model, rounded))) < 1e-5
    assert distance(clip, ksampler(moving)) > 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, FP8])
def test_motion_modules_that_the_host_keeps_in_few_bits(model, dtype):
    """On a GPU the host chooses the dtype of the weights; on a CPU it takes float32 for all of them."""
    few, rounded = load_motion(), load_motion()
    for motion_model, back in ((few, dtype), (rounded, torch.float32)):
        for weight in motion_model.patcher.model.parameters():
            weight.data = weight.to(dtype).to(back)
    assert distance(ksampler(apply_motion(model, few)), ksampler(apply_motion(model, rounded))) < 1e-5


def test_fp8_on_both_sides():
    few, start = load_motion(), stored_model(FP8, torch.bfloat16)
    for weight in few.patcher.model.parameters():
        weight.data = weight.to(FP8)
    clip = ksampler(apply_motion(start, few))
    assert clip.isfinite().all()
    assert distance(clip, ksampler(start)) > 1e-2


@pytest.mark.parametrize("memory", [1, 100_000])
def test_weights_cast_on_use(memory):
    """Do as --lowvram and --novram on a GPU (they exclude --cpu): weights stay outside until a layer is used."""
    model = apply_motion(load_lora(tiny_model()))
    expected = evaluation(model)
    unload_all_models()
    patchers = [model, *model.get_nested_additional_models()]
    for patcher in patchers:
        patcher.patch_model(CPU, lowvram_model_memory=memory)
    assert all(patcher.model.model_lowvram for patcher in patchers)
    assert model.lowvram_patch_counter() > 0
    assert distance(evaluation(model, load=False), expected) < 1e-6
    for patcher in patchers:
        patcher.detach()


def evaluation(patcher, load: bool = True) -> torch.Tensor:
    """Evaluate the model once through the host's wrappers."""
    options = comfy.model_patcher.create_model_options_clone(patcher.model_options)
    comfy.sampler_helpers.prepare_model_patcher(patcher, {}, options)
    if load:
        comfy.model_management.load_models_gpu([patcher, *patcher.get_nested_additional_models()])
    patcher.pre_run()
    x, text = noise(4), prompt(2)[0][0].repeat(4, 1, 1)
    arguments = {"c_crossattn": text, "transformer_options": options["transformer_options"] | {"cond_or_uncond": [0]}}
    try:
        return patcher.model.apply_model(x, torch.full((4,), 3.0), **arguments)
    finally:
        patcher.cleanup()
