"""A temporal transformer against diffusers' AnimateDiffTransformer3D, and its properties for any input."""

import pytest
import torch
from animatediff_loom.motion_modules import contract
from animatediff_loom.motion_modules.architectures.temporal_transformer import (
    TemporalTransformer,
    TemporalTransformerConfig,
)
from animatediff_loom.motion_modules.contract import AddedFeatures, MotionInputs
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.motion_modules.families import Family
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from hypothesis import given
from hypothesis import strategies as st
from synthetic_motion import module_shapes

from tests.support.motion_files import as_diffusers, random_weight
from tests.support.reference_unet import PerFrameNorm

CHANNELS, POSITIONS = 64, 16
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
SITE = "mid_block.motion_modules.0."
norms = pytest.mark.parametrize("joint", (False, True), ids=("per_frame", "joint"))


def weights(dtype=torch.float32, positions: int = POSITIONS) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    shapes = module_shapes(CHANNELS, positions).items()
    return {name: random_weight(name, shape, generator).to(dtype) for name, shape in shapes}


def module(joint: bool = False, dtype=torch.float32, **changes: torch.Tensor) -> TemporalTransformer:
    config = TemporalTransformerConfig(CHANNELS, POSITIONS, norm_over_frames=joint)
    ours = TemporalTransformer(config, dtype=dtype).to(dtype)
    ours.load_state_dict(weights(dtype) | changes)
    return ours.requires_grad_(False).eval()


def reference(joint: bool, dtype) -> AnimateDiffTransformer3D:
    theirs = AnimateDiffTransformer3D(
        num_attention_heads=8,
        attention_head_dim=CHANNELS // 8,
        in_channels=CHANNELS,
        positional_embeddings="sinusoidal",
        num_positional_embeddings=POSITIONS,
    ).to(dtype)
    renamed = as_diffusers({f"{SITE}temporal_transformer.{name}": tensor for name, tensor in weights(dtype).items()})
    theirs.load_state_dict({name.removeprefix(SITE): tensor for name, tensor in renamed.items()})
    if not joint:
        theirs.norm.__class__ = PerFrameNorm
    return theirs.requires_grad_(False).eval()


def clip(frames: int = 5, chunks: int = 2, height: int = 4, width: int = 6, dtype=torch.float32, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(chunks * frames, CHANNELS, height, width, generator=generator).to(dtype)


@norms
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("frames", (1, 5, POSITIONS))
def test_equals_diffusers(joint, dtype, frames):
    x = clip(frames, dtype=dtype)
    ours, theirs = module(joint, dtype)(x, MotionInputs(frames)), reference(joint, dtype)(x, num_frames=frames)
    assert (ours - theirs).abs().max() <= TOLERANCE[dtype]
    assert (theirs - x).std() > 0.1


def test_the_two_norms_differ():
    x = clip() * torch.linspace(0.2, 2, 10)[:, None, None, None]
    difference = module(joint=True)(x, MotionInputs(5)) - module(joint=False)(x, MotionInputs(5))
    assert difference.abs().max() > 1e-2


def test_more_frames_than_positions():
    with pytest.raises(LoomError, match=r"17 frames at once, but has positions for 16. .*context windows"):
        module()(clip(17, chunks=1), MotionInputs(17))


@norms
def test_order_of_chunks(joint):
    x, ours = clip(chunks=3), module(joint)
    swapped = x.unflatten(0, (3, 5))[[2, 0, 1]].flatten(0, 1)
    expected = ours(x, MotionInputs(5)).unflatten(0, (3, 5))[[2, 0, 1]].flatten(0, 1)
    torch.testing.assert_close(ours(swapped, MotionInputs(5)), expected, rtol=0, atol=1e-6)


@norms
def test_together_or_apart(joint):
    x, ours = clip(), module(joint)
    separate = torch.cat([ours(chunk, MotionInputs(5)) for chunk in x.split(5)])
    torch.testing.assert_close(ours(x, MotionInputs(5)), separate, rtol=0, atol=1e-6)


@norms
def test_same_shuffle_of_positions_in_every_frame(joint):
    x, ours = clip(), module(joint)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    shuffle = lambda t: t.flatten(2)[..., order].view_as(t)  # noqa: E731
    torch.testing.assert_close(ours(shuffle(x), MotionInputs(5)), shuffle(ours(x, MotionInputs(5))), rtol=0, atol=1e-5)


def without_positions(joint: bool) -> TemporalTransformer:
    tables = {name: torch.zeros_like(tensor) for name, tensor in weights().items() if name.endswith(".pe")}
    return module(joint, **tables)


@norms
def test_without_positions_the_order_of_frames_is_free(joint):
    x, ours, order = clip(chunks=1), without_positions(joint), torch.tensor((3, 0, 4, 1, 2))
    expected = ours(x, MotionInputs(5))[order]
    torch.testing.assert_close(ours(x[order], MotionInputs(5)), expected, rtol=0, atol=1e-5)


@norms
def test_still_clip_without_positions_stays_still(joint):
    x = clip(frames=1, chunks=2).repeat_interleave(5, dim=0)
    frames = without_positions(joint)(x, MotionInputs(5)).unflatten(0, (2, 5))
    torch.testing.assert_close(frames, frames[:, :1].expand_as(frames), rtol=0, atol=1e-5)


def test_frames_are_told_apart_by_their_position():
    x = clip(frames=1, chunks=1).repeat(5, 1, 1, 1)
    moved = module()(x, MotionInputs(5))
    assert (moved[1:] - moved[:-1]).abs().amax(dim=(1, 2, 3)).min() > 1e-3


@norms
def test_identity_when_the_output_projection_is_zero(joint):
    zero = {"proj_out.weight": torch.zeros(CHANNELS, CHANNELS), "proj_out.bias": torch.zeros(CHANNELS)}
    x = clip()
    assert torch.equal(module(joint, **zero)(x, MotionInputs(5)), x)


@given(st.floats(-4, 4, allow_subnormal=False))
def test_strength_scales_the_change(strength):
    x, ours = clip(height=2, width=2), module()
    change = ours(x, MotionInputs(5)) - x
    scaled = ours(x, MotionInputs(5, strength=strength))
    torch.testing.assert_close(scaled, x + strength * change, rtol=0, atol=1e-5)


def test_attention_scale_multiplies_the_logits():
    query = {f"transformer_blocks.0.attention_blocks.{i}.to_q.weight" for i in range(2)}
    scaled = module(**{name: 1.15 * tensor for name, tensor in weights().items() if name in query})
    x = clip()
    ours = module()(x, MotionInputs(5, attention_scale=1.15))
    torch.testing.assert_close(ours, scaled(x, MotionInputs(5)), rtol=0, atol=1e-5)
    assert (ours - module()(x, MotionInputs(5))).abs().max() > 1e-3


@norms
@given(tokens=st.integers(1, 400))
def test_spatial_chunks_change_nothing(joint, tokens):
    x, ours = clip(height=3, width=5), module(joint)
    whole = ours(x, MotionInputs(5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contract, "CPU_TOKENS", tokens)
        torch.testing.assert_close(ours(x, MotionInputs(5)), whole, rtol=0, atol=1e-5)


@given(st.integers(1, 5000), st.integers(1, 300), st.sampled_from(("cpu", "cuda")))
def test_spatial_chunks_cover_every_position_once(positions, batch, device):
    slices = list(contract.spatial_chunks(positions, batch, torch.device(device)))
    assert [i for part in slices for i in range(part.start, part.stop)] == list(range(positions))
    limit = contract.CPU_TOKENS if device == "cpu" else contract.CUDA_TOKENS
    assert all((part.stop - part.start) * batch <= max(limit, batch) for part in slices)


def test_input_is_left_alone():
    x = clip()
    before = x.clone()
    module()(x, MotionInputs(5, strength=2.0))
    assert torch.equal(x, before)


def test_channels_last_input():
    x = clip()
    ours = module()(x.contiguous(memory_format=torch.channels_last), MotionInputs(5))
    torch.testing.assert_close(ours, module()(x, MotionInputs(5)), rtol=0, atol=1e-5)


def test_attention_of_another_node_is_obeyed():
    seen = []

    def override(attention, *args, **kwargs):
        seen.append(args[0].shape)
        return attention(*args, **kwargs)

    x, options = clip(), {"optimized_attention_override": override}
    ours = module()(x, MotionInputs(5, attention_scale=1.15, host_options=options))
    assert seen == [torch.Size((2 * 24, 5, CHANNELS))] * 2
    expected = module()(x, MotionInputs(5, attention_scale=1.15))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_added_features_are_made_as_small_as_the_feature_map():
    x, features = clip(), torch.rand(10, 8, 7, 12)
    shapes = []

    def see(h, p):
        shapes.append(p.shape)
        return h + p.sum(dim=-1, keepdim=True)

    pooled = torch.nn.functional.adaptive_avg_pool2d(features, (4, 6))
    ours, expected = (
        module()(x, MotionInputs(5, added=AddedFeatures(each, before_attention=see))) for each in (features, pooled)
    )
    assert torch.equal(ours, expected) and len(shapes) == 2


def test_config_from_shapes():
    family = Family("a family", base="SD1.5", levels=4, mid=True, default_positions=48, joint_module_norm=True)
    for positions, expected in ((24, 24), (None, 48)):
        config = TemporalTransformerConfig.from_shapes(module_shapes(96, positions), family)
        assert config == TemporalTransformerConfig(96, expected, blocks=1, attentions=2, norm_over_frames=True)
        assert (config.heads, config.norm_groups) == (8, 32)
