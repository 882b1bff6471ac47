"""The host's torch.compile node before and after Apply Motion Model.

Its guards leave out `transformer_options`, in which a motion model's settings travel: what was
compiled for one run must not be used in another.
"""

from copy import deepcopy

import comfy.ldm.modules.attention
import comfy.model_patcher
import comfy.supported_models
import pytest
import torch
from animatediff_loom.motion_modules.files.motion_lora import add_motion_lora, parse_motion_lora
from animatediff_loom.sampling.steering.strength import MotionStrength, StrengthFactor

from tests.support.host import CPU, unet_config
from tests.support.motion_files import motion_file, random_weight
from tests.support.motion_loras import linear_layers, random_factors, spell
from tests.support.motion_models import apply_motion, load_motion
from tests.support.sampling import call, distance, host_node, ksampler

BACKEND = "eager"  # the part of the compiler that records graphs and guards; its kernels take minutes
WHOLE, LAYERS = "one graph for the UNet, as on a GPU", "a graph for each layer, as on a CPU"


@pytest.fixture(scope="module", params=[WHOLE, LAYERS])
def small(request):
    """A MODEL with spatial transformers at its first level alone, and the attention that the host has there."""
    torch.compiler.reset()
    config = unet_config("SD1.5")
    depths = {"transformer_depth": [1, 1] + [0] * 6, "transformer_depth_output": [1] * 3 + [0] * 9}
    config |= depths | {"transformer_depth_middle": -1}
    kind = comfy.supported_models.SD15(deepcopy(config))
    kind.unet_config = config
    kind.set_inference_dtype(torch.float32, None)
    unet, generator = kind.get_model({}, device=CPU), torch.Generator().manual_seed(0)
    for name, weight in unet.diffusion_model.named_parameters():
        weight.data = random_weight(name, weight.shape, generator)
    patcher = comfy.model_patcher.CoreModelPatcher(unet, CPU, CPU)
    if request.param == WHOLE:
        patcher.model_options["transformer_options"]["optimized_attention_override"] = _attention_of_a_gpu
    return patcher


def _attention_of_a_gpu(_attention_of_a_cpu, *arguments, **more):
    return comfy.ldm.modules.attention.attention_pytorch(*arguments, **more)


def compiled(model, backend: str = BACKEND):
    return call(host_node("nodes_torch_compile.TorchCompileModel"), model=model, backend=backend)


def test_stills_and_clips_of_one_compiled_model(small):
    """The same shapes with and without motion, and with other settings, one after another."""
    moves, ready = load_motion(), compiled(small)
    variants = [{}, {"strength": 0.5, "end_percent": 0.5}]
    expected = [ksampler(small), *(ksampler(apply_motion(small, moves, **settings)) for settings in variants)]
    results = [ksampler(ready), *(ksampler(apply_motion(ready, moves, **settings)) for settings in variants)]
    for ours, eager in zip(results, expected, strict=True):
        assert distance(ours, eager) < 1e-4
    for i, ours in enumerate(results):
        assert all(distance(ours, other) > 1e-3 for other in results[i + 1 :])
    assert distance(ksampler(ready), expected[0]) < 1e-4


def test_frames_and_conds_of_the_same_batch(small):
    """Two conds of 4 frames and one cond of 8 frames have the same shapes; the node stands after ours here."""
    clip_model = apply_motion(small)
    ready = compiled(clip_model)
    for inputs in ({"frames": 4}, {"frames": 8, "cfg": 1.0}):
        assert distance(ksampler(ready, **inputs), ksampler(clip_model, **inputs)) < 1e-4


def test_another_motion_model(small):
    clip_model = apply_motion(small, load_motion(seed=7, name="other"))
    assert distance(ksampler(compiled(clip_model)), ksampler(clip_model)) < 1e-4


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_norms_over_frames(small, backend):
    clip_model = apply_motion(small, load_motion(24))
    clip = ksampler(clip_model, steps=1)
    assert distance(ksampler(compiled(clip_model, backend), steps=1), clip) < 1e-4
    assert distance(clip, ksampler(apply_motion(small), steps=1)) > 1e-3


def test_a_lora_whose_strength_varies(small):
    """Hooks on the layers of motion modules come and go, which compiled code would not see."""
    factors = random_factors(linear_layers(motion_file()))
    varied, motion_model = MotionStrength((StrengthFactor(levels=(0.0, 1.0, 1.0, 0.0)),)), load_motion()
    changed = add_motion_lora(motion_model, parse_motion_lora("pan.ckpt", spell(factors)), 1.0, varied)
    ready = compiled(small)
    for each in (motion_model, changed, motion_model):
        assert distance(ksampler(apply_motion(ready, each)), ksampler(apply_motion(small, each))) < 1e-4
