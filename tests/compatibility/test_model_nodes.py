"""The host's nodes that change a model, before and after Apply Motion Model."""

import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, TimestepBlock, VideoResBlock

from tests.support.motion_models import apply_motion, load_motion
from tests.support.sampling import call, distance, host_node, ksampler

NODES = {
    "FreeU": ("nodes_freelunch.FreeU", {"b1": 1.1, "b2": 1.2, "s1": 0.9, "s2": 0.2}),
    "FreeU_V2": ("nodes_freelunch.FreeU_V2", {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2}),
    "PAG": ("nodes_pag.PerturbedAttentionGuidance", {"scale": 3.0}),
    "RescaleCFG": ("nodes_model_advanced.RescaleCFG", {"multiplier": 0.7}),
    "SAG": ("nodes_sag.SelfAttentionGuidance", {"scale": 0.5, "blur_sigma": 2.0}),
    "ToMe": ("nodes_tomesd.TomePatchModel", {"ratio": 0.5}),
    "Downscale": (
        "nodes_model_downscale.PatchModelAddDownscale",
        {
            "block_number": 3,
            "downscale_factor": 2.0,
            "start_percent": 0.0,
            "end_percent": 0.5,
            "downscale_after_skip": True,
            "downscale_method": "bicubic",
            "upscale_method": "bicubic",
        },
    ),
    "NAG": ("nodes_nag.NAGuidance", {"nag_scale": 5.0, "nag_alpha": 0.5, "nag_tau": 1.5}),
    "CFGZeroStar": ("nodes_cfg.CFGZeroStar", {}),
    "TCFG": ("nodes_tcfg.TCFG", {}),
    "FreSca": ("nodes_fresca.FreSca", {"scale_low": 1.0, "scale_high": 1.25, "freq_cutoff": 2}),
    "APG": ("nodes_apg.APG", {"eta": 1.0, "norm_threshold": 5.0, "momentum": 0.0}),
    "Mahiro": ("nodes_mahiro.Mahiro", {}),
    "Epsilon scaling": ("nodes_eps.EpsilonScaling", {"scaling_factor": 1.02}),
    "v-prediction": ("nodes_model_advanced.ModelSamplingDiscrete", {"sampling": "v_prediction", "zsnr": False}),
}
STEPS = 2


@pytest.fixture(scope="module")
def moves():
    """A motion model that does most in the UNet: it joins the group norms over the frames."""
    return load_motion(24)


@pytest.fixture(scope="module")
def unchanged(model, moves) -> torch.Tensor:
    """The clip without any of the nodes."""
    return _clip(apply_motion(model, moves))


@pytest.mark.parametrize("name", NODES)
def test_a_node_works_the_same_on_both_sides_of_ours(model, moves, still_motion, unchanged, name):
    path, inputs = NODES[name]
    node = host_node(path)

    def changed(start):
        return call(node, model=start, **inputs)

    clip = _clip(apply_motion(changed(model), moves))
    assert clip.isfinite().all()
    assert torch.equal(_clip(changed(apply_motion(model, moves))), clip)
    plain = _clip(changed(model))
    assert torch.equal(_clip(apply_motion(changed(model), still_motion)), plain)
    assert distance(clip, plain) > 1e-3
    assert distance(clip, unchanged) > 1e-5


def test_hypertile(model, moves):
    """Its tiles are drawn at random, so the draws are the same on both sides."""
    node = host_node("nodes_hypertile.HyperTile")

    def tiled(start):
        return call(node, model=start, tile_size=32, swap_size=2, max_depth=0, scale_depth=False)

    def clip(start):
        torch.manual_seed(0)
        return _clip(start)

    result = clip(apply_motion(tiled(model), moves))
    assert torch.equal(clip(tiled(apply_motion(model, moves))), result)
    assert distance(result, clip(tiled(model))) > 1e-3
    assert distance(result, clip(apply_motion(model, moves))) > 1e-5


@pytest.mark.parametrize("name", ["LazyCacheNode", "EasyCacheNode"])
def test_a_run_whose_later_steps_come_from_a_cache_is_not_still(model, moves, still_motion, name):
    node, evaluations = host_node(f"nodes_easycache.{name}"), []
    first_module = next(iter(moves.patcher.model.by_site.values()))
    hook = first_module.register_forward_hook(lambda *_: evaluations.append(1))

    def cached(start):
        return call(node, model=start, reuse_threshold=3.0, start_percent=0.0, end_percent=1.0, verbose=False)

    def clip(start):
        return ksampler(start, steps=6, frames=3)

    result = clip(cached(apply_motion(model, moves)))
    assert torch.equal(clip(apply_motion(cached(model), moves)), result)
    hook.remove()
    assert 0 < len(evaluations) < 2 * 6
    plain = clip(cached(model))
    assert torch.equal(clip(cached(apply_motion(model, still_motion))), plain)
    assert distance(result, plain) > 1e-3


def test_a_node_that_takes_every_layer_first_is_named(model, moves, unchanged):
    """Apply Motion Model puts itself before what is there; a patch that another node moves before it is refused."""
    clone = apply_motion(model, moves).clone()
    patches = clone.model_options["transformer_options"]["patches"]["forward_timestep_embed_patch"]
    patches.insert(0, (VideoResBlock, _as_the_host))
    assert torch.equal(_clip(clone), unchanged)
    patches.insert(0, (TimestepBlock, _as_the_host))
    with pytest.raises(LoomError, match=r"takes the UNet's layers first\. Move Apply Motion Model"):
        _clip(clone)


def test_a_layer_patch_that_was_there_is_handed_on_to(model, unchanged):
    patched, layers = model.clone(), []

    def louder(layer, x, emb, *rest):
        layers.append(layer)
        return layer(x, emb) * 1.01

    patched.set_model_forward_timestep_embed_patch((ResBlock, louder))
    clip = _clip(apply_motion(patched))
    assert len(layers) == STEPS * 22
    late = apply_motion(model).clone()
    late.set_model_forward_timestep_embed_patch((ResBlock, louder))
    assert torch.equal(_clip(late), clip)
    assert distance(clip, unchanged) > 1e-4


def _as_the_host(layer, x, emb, *rest):
    return layer(x, emb)


def _clip(model) -> torch.Tensor:
    return ksampler(model, steps=STEPS, latent_image={"samples": torch.zeros(3, 4, 16, 16)})
