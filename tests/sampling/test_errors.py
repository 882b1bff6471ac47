"""Wrong inputs are refused with one error, and the same model makes a good clip right afterwards."""

import inspect

import pytest
import torch
from animatediff_loom.motion_modules.contract import frames_per_chunk
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.motion_modules.unet.applied import MotionSettings, applied_motion
from animatediff_loom.sampling.animate import AS_THE_MODEL, animate
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from hypothesis import given
from hypothesis import strategies as st
from synthetic_motion import file_shapes

from tests.support.host import copy_weights, same_weights, tiny_dit, tiny_model
from tests.support.motion_files import SDXL_BETA, V1, V2, V3, weightless
from tests.support.motion_models import DIVIDING, apply_windows
from tests.support.sampling import distance, noise, prompt, record_unet, sample
from tests.support.texts import expect_error

NAME = "tiny.safetensors"


@pytest.fixture(scope="module")
def plain():
    return tiny_model()


@pytest.fixture(scope="module")
def motion_model():
    return motion_model_from_tensors(V1.file(), NAME)


@pytest.fixture(scope="module")
def good_clip(plain, motion_model):
    return sample(animate(plain, motion_model, MotionSettings()), steps=1)


@pytest.fixture
def animated(plain, motion_model, good_clip):
    """Sampling this must still give the same clip after whatever the test has tried."""
    weights, animated = copy_weights(plain), animate(plain, motion_model, MotionSettings())
    yield animated
    assert torch.equal(sample(animated, steps=1), good_clip)
    assert same_weights(plain, weights)


@pytest.mark.parametrize(
    ("expected", "model", "base"),
    (
        (V1, lambda: tiny_model("SDXL"), "SDXL"),
        (V2, lambda: tiny_model("SDXL"), "SDXL"),
        (V3, lambda: tiny_model("SD2"), "SD2"),
        (V3, tiny_dit, "another kind of model (OpenAISignatureMMDITWrapper)"),
        (SDXL_BETA, tiny_model, "SD1.5"),
        (SDXL_BETA, tiny_dit, "another kind of model (OpenAISignatureMMDITWrapper)"),
    ),
)
def test_wrong_base_model(expected, model, base, animated):
    wrong, motion_model = model(), motion_model_from_tensors(expected.file(), NAME)
    weights = copy_weights(wrong)
    with expect_error(f"'{NAME}'", expected.name, f"made for {expected.base}", f"`model` is {base}"):
        animate(wrong, motion_model, MotionSettings())
    with expect_error(f"`model` is {base}"):
        animate(wrong, motion_model, MotionSettings(strength=0.0))
    assert same_weights(wrong, weights)


def test_wrong_widths(plain, animated):
    wide = motion_model_from_tensors(weightless(file_shapes((32, 64, 96, 128), mid=False, positions=32)), NAME)
    with expect_error(f"'{NAME}'", "128 channels at 'down_blocks.2.motion_modules.0', not 96"):
        animate(plain, wide, MotionSettings())


def test_no_place_for_a_module(animated, motion_model):
    short = tiny_model()
    short.model.diffusion_model.output_blocks = short.model.diffusion_model.output_blocks[:-1]
    with expect_error(f"'{NAME}'", "without the site 'up_blocks.3.motion_modules.2'"):
        animate(short, motion_model, MotionSettings())


def refused_before_sampling(model, *parts, **options) -> None:
    model, seen = record_unet(model)
    with expect_error(*parts):
        sample(model, **options)
    assert not seen.calls


@pytest.mark.parametrize("frames", (25, 48))
def test_more_frames_than_positions(animated, frames):
    parts = (f"{frames} frames at once", f"'{NAME}'", "positions for 24", "Apply Context Windows (AnimateDiff)")
    refused_before_sampling(animated, *parts, frames=frames)


def test_as_many_frames_as_positions(animated):
    assert sample(animated, frames=24, steps=1).isfinite().all()


def test_the_smallest_of_several_motion_models_limits(plain, animated):
    long = motion_model_from_tensors(V3.file(), "long.safetensors")
    both = animate(animated, long, MotionSettings())
    refused_before_sampling(both, f"'{NAME}'", "positions for 24", frames=25)


HAS_ANCHORS = "causal_window_fix" in inspect.signature(ContextWindowsManualNode.execute).parameters


def windows(model, length: int, anchors: bool = False, context_schedule: str = "standard_static"):
    settings = {
        "context_overlap": min(4, length - 1),
        "context_schedule": context_schedule,
        "context_stride": 1,
        "closed_loop": False,
    }
    settings |= {"fuse_method": "pyramid", "dim": 0, "freenoise": False}
    settings |= {"causal_window_fix": anchors} if HAS_ANCHORS else {}
    return ContextWindowsManualNode.execute(model, length, **settings).args[0]


def test_context_windows_lift_the_limit(animated):
    model, seen = record_unet(windows(animated, 8))
    assert sample(model, frames=26, steps=1).shape[0] == 26
    assert {call["x"].shape[0] for call in seen.calls} == {2 * 8}


def test_context_windows_that_are_too_long(animated):
    parts = ("25 frames at once", "positions for 24", "`context_length` of up to 24")
    refused_before_sampling(windows(animated, 25), *parts, frames=40)


@pytest.mark.skipif(not HAS_ANCHORS, reason="this host adds no frame to its context windows")
@pytest.mark.parametrize("frames", (25, 40))
def test_the_longest_context_windows_with_the_hosts_own_defaults(animated, frames):
    """By default the host adds an anchor frame to every window but the first."""
    parts = ("25 frames at once", "positions for 24", "Add Apply Context Windows (AnimateDiff) to the model")
    refused_before_sampling(windows(animated, 24, anchors=True), *parts, frames=frames)
    assert sample(windows(animated, 23, anchors=True), frames=frames, steps=1).isfinite().all()


def test_one_frame_only(animated):
    refused_before_sampling(animated, "1 frame,", f"'{NAME}'", "at least 2", "Raise `batch_size`", frames=1)


def test_one_encoded_picture(animated):
    parts = ("1 frame,", f"'{NAME}'", "Add Repeat Latent Batch after the node that encodes the picture")
    refused_before_sampling(animated, *parts, frames=1, latent_image=noise(1, seed=5))


@pytest.mark.parametrize("schedule", [*DIVIDING, "view"])
def test_windows_of_one_frame(plain, animated, schedule):
    """No frame would see another; without a motion model that is how pictures are sampled."""
    parts = ("`context_length` 1", "clip of 5 frames has 1 frame", f"'{NAME}'", "Raise `context_length`")
    single = {"schedule": schedule, "length": 1, "overlap": 0}
    refused_before_sampling(apply_windows(animated, **single), *parts, frames=5)
    assert distance(sample(apply_windows(plain, **single), frames=5), sample(plain, frames=5)) < 2e-5


def test_a_last_window_of_one_frame(animated):
    batched = apply_windows(animated, "batched", length=4, overlap=0)
    refused_before_sampling(
        batched, "`context_length` 4", "of 9 frames has 1 frame", "Raise `context_length`", frames=9
    )
    assert sample(batched, frames=10, steps=1).isfinite().all()


def test_windows_of_one_frame_where_no_motion_acts(plain, motion_model):
    early = animate(plain, motion_model, MotionSettings(end_percent=0.5))
    late = {"schedule": "static", "length": 1, "overlap": 0, "start_percent": 0.5}
    assert sample(apply_windows(early, **late), frames=5, steps=4).isfinite().all()
    always = apply_windows(animate(plain, motion_model, MotionSettings()), **late)
    refused_before_sampling(always, "`context_length` 1", frames=5, steps=4)


@pytest.mark.parametrize("length", (1, 4))
def test_windows_of_one_frame_of_the_host(animated, length):
    """The last of the host's batched windows may be of one frame, which only sampling shows."""
    with expect_error("received 1 frame at once", f"'{NAME}'", "at least 2", "Raise the length"):
        sample(windows(animated, length, context_schedule="batched"), frames=5)


def test_two_frames(animated):
    assert sample(animated, frames=2, steps=1).isfinite().all()


def repeated(count: int) -> list:
    """A prompt with features for `count` frames."""
    ((text, extra),) = prompt(2)
    return [[text.repeat(count, 1, 1), extra | {"pooled_output": extra["pooled_output"].repeat(count, 1)}]]


@pytest.mark.parametrize("side", ["positive", "negative"])
@pytest.mark.parametrize("count", [2, 4, 6])
def test_a_prompt_for_another_number_of_frames(animated, side, count):
    """The host itself repeats what is too short and cuts what is too long."""
    parts = (f"The {side} prompt has {count} frames", "the clip has 5", "Provide 5 frames, or one", "Prompt Schedule")
    refused_before_sampling(animated, *parts, frames=5, **{side: repeated(count)})


def test_a_prompt_for_every_frame_or_for_all(animated, plain):
    each, every = (sample(animated, frames=5, positive=repeated(count)) for count in (5, 1))
    assert torch.allclose(each, every, atol=1e-4)
    assert sample(plain, frames=5, positive=repeated(2)).isfinite().all()


def test_a_batch_that_is_no_multiple_of_the_conds(animated):
    def drop_one_frame(apply_model, arguments):
        c = {key: value[:-1] if torch.is_tensor(value) else value for key, value in arguments["c"].items()}
        return apply_model(arguments["input"][:-1], arguments["timestep"][:-1], **c)

    model = animated.clone()
    model.set_model_unet_function_wrapper(drop_one_frame)
    with expect_error("The UNet received a batch of 9 for 2 conds of 5 frames", "a multiple of 10"):
        sample(model, frames=5)


@given(st.integers(1, 64), st.integers(1, 8))
def test_frames_per_chunk(frames, chunks):
    assert frames_per_chunk(frames * chunks, chunks) == frames
    if chunks > 1:
        with expect_error(f"The UNet received a batch of {frames * chunks + 1} for {chunks} conds"):
            frames_per_chunk(frames * chunks + 1, chunks)


def other_nodes_handler(layer, x, emb, context, transformer_options, *rest):
    return layer(x, emb) if isinstance(layer, ResBlock) else layer(x, context, transformer_options)


@pytest.mark.parametrize("layer_class", (SpatialTransformer, ResBlock, torch.nn.Module))
def test_a_layer_patch_in_front_of_ours(animated, layer_class):
    model = animated.clone()
    patches = model.model_options["transformer_options"]["patches"]["forward_timestep_embed_patch"]
    patches.insert(0, (layer_class, other_nodes_handler))
    refused_before_sampling(model, f"'{NAME}'", f"'{__name__}'", "Move Apply Motion Model after")


def test_a_layer_patch_of_another_class_in_front_of_ours(animated, good_clip):
    model = animated.clone()
    patches = model.model_options["transformer_options"]["patches"]["forward_timestep_embed_patch"]
    patches.insert(0, (torch.nn.Linear, other_nodes_handler))
    assert torch.equal(sample(model, steps=1), good_clip)


def test_a_motion_model_that_never_ran(animated):
    model = animated.clone()
    model.set_model_unet_function_wrapper(lambda apply_model, arguments: arguments["input"])
    with expect_error(f"'{NAME}'", "never ran while sampling", "Remove the nodes"):
        sample(model)


def test_a_schedule_without_a_step(plain, animated):
    """Sigmas that SplitSigmas leaves after its last step: the latents go through unchanged."""
    once = {"steps": 0, "sigmas": torch.tensor([3.0])}
    assert torch.equal(sample(animated, **once), sample(plain, **once))


def test_options_without_weights(animated):
    model = animated.clone()
    (motion,) = applied_motion(model.model_options)
    model.remove_additional_models(motion.key)
    with expect_error(f"'{NAME}'", "no longer carries its weights", "Apply the motion model after"):
        sample(model)


@pytest.mark.parametrize(("start", "end"), ((0.5, 0.5), (0.6, 0.4), (1.0, 0.0)))
def test_start_behind_end(plain, motion_model, animated, start, end):
    with expect_error(
        f"`start_percent` is {start}", f"`end_percent` is {end}", "Set `start_percent` below `end_percent`"
    ):
        animate(plain, motion_model, MotionSettings(start_percent=start, end_percent=end))


@pytest.mark.parametrize(("start", "end", "options"), ((0.99, 0.991, {}), (0.0, 0.3, {"denoise": 0.4})))
def test_a_range_without_a_step(plain, motion_model, animated, start, end, options):
    model = animate(plain, motion_model, MotionSettings(start_percent=start, end_percent=end))
    parts = (f"'{NAME}'", f"from {start:.0%} to {end:.0%}", "no step", "Widen `start_percent` and `end_percent`")
    refused_before_sampling(model, *parts, steps=3, **options)


def test_a_second_pass_after_the_range_runs_without_motion(plain, motion_model, caplog):
    model = animate(plain, motion_model, MotionSettings(end_percent=0.6), AS_THE_MODEL)
    first = sample(model, steps=4)
    second, still = (sample(each, steps=4, denoise=0.35, latent_image=first) for each in (model, plain))
    assert torch.equal(second, still)
    (said,) = (record.message for record in caplog.records if record.message.startswith(f"Motion model '{NAME}'"))
    assert " acts from 0% to 60% of the schedule. This sampler has no step there" in said


def test_a_second_half_after_the_range_runs_without_motion(plain, motion_model):
    model = animate(plain, motion_model, MotionSettings(end_percent=0.5), AS_THE_MODEL)
    first = sample(model, steps=8, last_step=4)
    half = {"steps": 8, "start_step": 4, "noise": torch.zeros_like(first), "latent_image": first}
    assert torch.equal(sample(model, **half), sample(plain, **half))
    assert not torch.equal(first, sample(plain, steps=8, last_step=4))


def test_a_sampler_without_motion_may_have_any_number_of_frames(plain, motion_model):
    model = animate(plain, motion_model, MotionSettings(end_percent=0.6), AS_THE_MODEL)
    sample(model, steps=2)
    for frames in (1, 30):
        second, still = (sample(each, frames, steps=4, denoise=0.35) for each in (model, plain))
        assert torch.equal(second, still)


def test_a_sampler_that_was_off_is_no_other_sampler(plain, motion_model):
    model = animate(plain, motion_model, MotionSettings(end_percent=0.3))
    for _ in range(2):
        refused_before_sampling(model, "no step, and no other sampler", "change `denoise`", steps=3, denoise=0.4)


def test_a_range_with_one_step(plain, motion_model):
    model = animate(plain, motion_model, MotionSettings(start_percent=0.0, end_percent=0.01))
    still = sample(plain, steps=3)
    assert (sample(model, steps=3) - still).abs().max() > 1e-3
