"""Where motion modules run in the host's UNet, in which order and when; how cond chunks and other patches meet them."""

import comfy.ops
import comfy.samplers
import pytest
import torch
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.motion_modules.unet.sites import unet_sites
from animatediff_loom.sampling.animate import AS_THE_MODEL, animate
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, UNetModel
from synthetic_motion import site_channels
from torch import nn

from tests.support.host import tiny_model, unet_config
from tests.support.motion_files import FULL_WIDTHS, SDXL_BETA, V1, V2, V3, Expected
from tests.support.reference_unet import evaluate_reference, reference_unet
from tests.support.sampling import evaluate_once, prompt, record_unet, sample

FRAMES = 3
kinds = pytest.mark.parametrize("expected", (V1, V3, SDXL_BETA), ids=lambda expected: expected.name)


def load(expected: Expected, seed: int = 0, tensors=None):
    return motion_model_from_tensors(tensors or expected.file(seed), expected.name, expected.choice)


def animated(expected: Expected, schedule: str = AS_THE_MODEL, tensors=None, **settings):
    return animate(tiny_model(expected.base), load(expected, tensors=tensors), MotionSettings(**settings), schedule)


DEPTHS = {
    "SD1.5": ([1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], 1),
    "SDXL": ([0, 0, 2, 2, 10, 10], [0, 0, 0, 2, 2, 2, 10, 10, 10], 10),
}


def full_size_unet(base: str) -> UNetModel:
    """The UNet that the host builds for the published checkpoints, without memory for its weights."""
    config = unet_config(base) | {"model_channels": 320, "device": "meta", "operations": comfy.ops.disable_weight_init}
    down, up, middle = DEPTHS[base]
    depths = {"transformer_depth": down[:], "transformer_depth_output": up[:], "transformer_depth_middle": middle}
    return UNetModel(**config | depths)


RESIDUAL_ONLY = {
    "SD1.5": {("input", 10), ("input", 11), ("output", 0), ("output", 1), ("output", 2)},
    "SDXL": {("input", 1), ("input", 2), ("output", 6), ("output", 7), ("output", 8)},
}


@pytest.mark.parametrize("base", ("SD1.5", "SDXL"))
def test_sites_of_the_real_models(base):
    """Reference A.5: input k is level (k-1)//3, module (k-1)%3; output i is level i//3, module i%3."""
    placed_sites = unet_sites(full_size_unet(base))
    assert {name: site.channels for name, site in placed_sites.items()} == site_channels(FULL_WIDTHS[base], mid=True)
    for name, site in placed_sites.items():
        kind, number = site.block
        if kind == "input":
            assert name == f"down_blocks.{(number - 1) // 3}.motion_modules.{(number - 1) % 3}"
        if kind == "output":
            assert name == f"up_blocks.{number // 3}.motion_modules.{number % 3}"
        assert site.after_transformer == (site.block not in RESIDUAL_ONLY[base])
    assert placed_sites["mid_block.motion_modules.0"].block == ("middle", 0)


def test_every_module_runs_once_per_evaluation():
    model = animated(V2)
    modules = model.get_additional_models()[0].model.by_site
    ran = []
    handles = [module.register_forward_hook(lambda *_, name=name: ran.append(name)) for name, module in modules.items()]
    evaluate_once(model, FRAMES, 500)
    for handle in handles:
        handle.remove()
    down, up = [n for n in modules if n.startswith("down")], [n for n in modules if n.startswith("up")]
    assert ran == [*sorted(down), "mid_block.motion_modules.0", *sorted(up)]


class InOrder(nn.Module):
    """Two of the reference's motion modules, one after the other."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, hidden_states, *others, **named):
        return self.second(self.first(hidden_states, *others, **named), *others, **named)


@pytest.mark.parametrize("seeds", ((0, 1), (1, 0)))
def test_two_motion_models_run_in_the_order_of_their_nodes(seeds):
    plain = tiny_model()
    model = plain
    for seed in seeds:
        model = animate(model, load(V2, seed), MotionSettings(), AS_THE_MODEL)
    call = evaluate_once(model, FRAMES, 500)
    first, second = (reference_unet(plain, V2, V2.file(seed), FRAMES) for seed in seeds)
    for path, module in [*first.named_modules()]:
        if isinstance(module, nn.ModuleList) and path.endswith("motion_modules"):
            others = second.get_submodule(path)
            for index in range(len(module)):
                module[index] = InOrder(module[index], others[index])
    reference = evaluate_reference(first, call, FRAMES)
    assert (call["output"] - reference).abs().max() <= 1e-5


def test_a_joint_norm_in_one_of_two_motion_models_is_on_for_the_unet():
    nothing = {name: 0 * value if "proj_out" in name else value for name, value in V1.file().items()}
    plain = tiny_model()
    both = animate(
        animate(plain, load(V3), MotionSettings(), AS_THE_MODEL),
        load(V1, tensors=nothing),
        MotionSettings(),
        AS_THE_MODEL,
    )
    call = evaluate_once(both, FRAMES, 500)
    mixed = Expected("mixed", "SD1.5", mid=False, positions=32, joint_unet_norm=True)
    reference = evaluate_reference(reference_unet(plain, mixed, V3.file(), FRAMES), call, FRAMES)
    assert (call["output"] - reference).abs().max() <= 1e-5


def each_cond_alone(arguments: dict) -> list[torch.Tensor]:
    """Evaluate conds one by one, as the host does when memory is short."""
    model, x, sigma, options = (arguments[key] for key in ("model", "input", "sigma", "model_options"))
    return [comfy.samplers.calc_cond_batch(model, [cond], x, sigma, options)[0] for cond in arguments["conds"]]


@kinds
def test_cond_and_uncond_together_or_apart(expected):
    batched, seen_batched = record_unet(animated(expected))
    separate, seen_separate = record_unet(batched)
    separate.model_options["sampler_calc_cond_batch_function"] = each_cond_alone
    one, other = sample(batched, steps=1), sample(separate, steps=1)
    assert len(seen_batched.calls[0]["chunks"]) == 2
    assert [len(call["chunks"]) for call in seen_separate.calls[-2:]] == [1, 1]
    assert (one - other).abs().max() <= 1e-5 * one.abs().max()


def test_prompts_of_different_length():
    model, seen = record_unet(animated(V3))
    long = prompt(3, tokens=11)
    separate = sample(model, steps=1, negative=long)
    assert [len(call["chunks"]) for call in seen.calls] == [1, 1]
    alone = [sample(model, steps=1, cfg=1.0, positive=each) for each in (prompt(2), long)]
    torch.testing.assert_close(separate, alone[1] + 5 * (alone[0] - alone[1]), rtol=1e-4, atol=1e-2)


@kinds
def test_without_cfg(expected):
    model, seen = record_unet(animated(expected))
    assert sample(model, steps=1, cfg=1.0).isfinite().all()
    assert [len(call["chunks"]) for call in seen.calls] == [1]


def test_strength_is_a_factor_on_the_output_projection():
    halved = {name: value / 2 if "proj_out" in name else value for name, value in V3.file().items()}
    strength, weights = animated(V3, strength=0.5), animated(V3, tensors=halved)
    ours, theirs = (evaluate_once(model, FRAMES, 500)["output"] for model in (strength, weights))
    assert (ours - theirs).abs().max() <= 1e-5
    assert (ours - evaluate_once(animated(V3), FRAMES, 500)["output"]).abs().max() > 1e-2


def test_attention_scale_is_a_factor_on_the_queries():
    scaled = {name: value * 1.15 if "to_q" in name else value for name, value in V3.file().items()}
    scale, weights = animated(V3, attention_scale=1.15), animated(V3, tensors=scaled)
    ours, theirs = (evaluate_once(model, FRAMES, 500)["output"] for model in (scale, weights))
    assert (ours - theirs).abs().max() <= 1e-5
    assert (ours - evaluate_once(animated(V3), FRAMES, 500)["output"]).abs().max() > 1e-3


@pytest.mark.parametrize("motion_first", (True, False))
def test_a_range_of_the_steps(motion_first):
    """The clip is that of two samplers in a row, one with motion and one without."""
    percents = {"end_percent": 0.5} if motion_first else {"start_percent": 0.5}
    plain, moving = tiny_model(), animated(V3)
    split = 2
    first, second = (moving, plain) if motion_first else (plain, moving)
    half = sample(first, steps=4, last_step=split)
    rest = {"start_step": split, "latent_image": half, "noise": torch.zeros_like(half), "disable_noise": True}
    expected = sample(second, steps=4, **rest)
    assert (sample(moving, steps=4) - expected).abs().max() > 1e-3
    ours = sample(animated(V3, **percents), steps=4)
    assert (ours - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_ranges_that_meet_do_not_overlap():
    """The step that lies on the border belongs to the motion model that starts there."""
    plain, border = tiny_model(), 0.4
    sigma = plain.get_model_object("model_sampling").percent_to_sigma(border)
    before, after = MotionSettings(end_percent=border), MotionSettings(start_percent=border)
    both = animate(animate(plain, load(V3), before, AS_THE_MODEL), load(V3, seed=1), after, AS_THE_MODEL)
    second = animate(plain, load(V3, seed=1), MotionSettings(), AS_THE_MODEL)
    ours, expected = (sample(model, sigmas=torch.tensor((sigma, 0.0))) for model in (both, second))
    assert torch.equal(ours, expected)


class OtherNode:
    """A layer patch of another pack."""

    def __init__(self, factor: float):
        self.layers, self.factor = 0, factor

    def __call__(self, layer, x, emb, context, transformer_options, *rest):
        self.layers += 1
        return self.factor * (layer(x, emb) if isinstance(layer, ResBlock) else layer(x, context, transformer_options))


@pytest.mark.parametrize("layer_class", (ResBlock, SpatialTransformer))
def test_a_layer_patch_that_was_there_before(layer_class):
    """It still has every layer of its class, and the motion modules run after it."""
    outputs = []
    for factor in (1.0, 0.5):
        plain, other = tiny_model(), OtherNode(factor)
        unet = plain.model.diffusion_model
        layers = sum(isinstance(layer, layer_class) for layer in unet.modules())
        plain.set_model_patch((layer_class, other), "forward_timestep_embed_patch")
        call = evaluate_once(animate(plain, load(V3), MotionSettings(), AS_THE_MODEL), FRAMES, 500)
        assert other.layers == layers
        outputs.append(call["output"])
    assert torch.equal(outputs[0], evaluate_once(animated(V3), FRAMES, 500)["output"])
    assert (outputs[1] - outputs[0]).abs().max() > 1e-2


def test_indices_that_other_patches_see():
    """Attention patches address spatial transformers by a running index."""

    def seen_by(model) -> list:
        seen = []
        model = model.clone()
        model.set_model_attn2_output_patch(lambda n, extra: seen.append(extra["transformer_index"]) or n)
        evaluate_once(model, FRAMES, 500)
        return seen

    assert seen_by(animated(V2)) == seen_by(tiny_model()) == list(range(16))
