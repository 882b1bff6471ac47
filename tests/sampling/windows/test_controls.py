"""ControlNets, adapters and Control-LoRAs of the host in windows: every window sees the hints of its own frames."""

import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.sampling.windows.conds import FrameSlice, list_frame_counts
from animatediff_loom.sampling.windows.controls import WindowControls
from animatediff_loom.sampling.windows.run import ContextRun
from comfy.controlnet import ControlNet
from comfy.hooks import EnumHookScope, HookGroup, TransformerOptionsHook, set_hooks_for_conditioning
from comfy.patcher_extension import WrappersMP

import nodes
from tests.support.host import CPU, tiny_model
from tests.support.motion_models import DIVIDING, LENGTH, apply_motion, apply_windows
from tests.support.other_nodes import FrameStrengths
from tests.support.sampling import (
    apply_control,
    control_net,
    distance,
    ksampler,
    prompt,
    random_pictures,
    record_options,
    record_unet,
    t2i_adapter,
)

FRAMES, STEPS = 10, 2


class FrameNumber(torch.nn.Module):
    """In the place of a ControlNet's network: its answer for every frame is the mean of the hint that it was given."""

    dtype = torch.float32

    def forward(self, x, hint, timesteps, context, **extra):
        return {"middle": [hint.mean((1, 2, 3)).view(-1, 1, 1, 1).expand(len(x), 128, 1, 1).clone()]}


@pytest.fixture(scope="module")
def moving():
    return apply_motion(tiny_model())


def frame_number_net(encoded: list[int]) -> ControlNet:
    """The host's own ControlNet; `encoded` fills with the number of hints in each call that makes them ready."""

    def count(hints):
        encoded.append(len(hints))
        return hints

    return ControlNet(FrameNumber(), load_device=CPU, preprocess_image=count)


def numbered(frames: int = FRAMES) -> torch.Tensor:
    """Pictures as the host has them, `[frames, height, width, 3]`, as bright as their number."""
    return torch.arange(frames).view(-1, 1, 1, 1).expand(frames, 64, 64, 3) / 16


@pytest.mark.parametrize("schedule", DIVIDING)
@pytest.mark.parametrize("windows_at_once", [1, 3])
def test_every_window_sees_its_own_frames(moving, schedule, windows_at_once):
    encoded = []
    model, seen = record_options(apply_windows(moving, schedule, windows_at_once=windows_at_once))
    ksampler(model, FRAMES, **apply_control(frame_number_net(encoded), numbered()))
    assert seen
    for evaluation in seen:
        chunks = len(evaluation["options"]["cond_or_uncond"])
        expected = torch.tensor(evaluation["options"]["ad_params"]["sub_idxs"] * chunks) / 16
        assert torch.allclose(evaluation["control"]["middle"][0][:, 0, 0, 0], expected)
    assert sum(encoded) == FRAMES


def test_a_chain_of_two_with_strengths_and_ranges(moving):
    node, encoded = nodes.ControlNetApplyAdvanced(), []
    first, second = frame_number_net(encoded), frame_number_net(encoded)
    positive, negative = node.apply_controlnet(prompt(2), prompt(3), first, numbered(), 0.5, 0.0, 1.0)
    positive, negative = node.apply_controlnet(positive, negative, second, numbered().flip(0), 2.0, 0.0, 0.5)
    model, seen = record_options(apply_windows(moving, windows_at_once=2))
    ksampler(model, FRAMES, positive=positive, negative=negative, steps=4)
    both, alone = seen[0], seen[-1]
    for evaluation, added in ((both, 2.0), (alone, 0.0)):
        frames = torch.tensor(evaluation["options"]["ad_params"]["sub_idxs"] * 2)
        expected = 0.5 * frames / 16 + added * (FRAMES - 1 - frames) / 16
        assert torch.allclose(evaluation["control"]["middle"][0][:, 0, 0, 0], expected)
    assert sum(encoded) == 2 * FRAMES


@pytest.mark.parametrize("make", [control_net, t2i_adapter])
def test_a_window_knows_nothing_of_the_pictures_of_another(moving, make):
    net, images, model = make(), random_pictures(2 * LENGTH), apply_windows(moving, "batched")
    clip, changed = (
        ksampler(model, 2 * LENGTH, **apply_control(net, hints))
        for hints in (images, torch.cat([images[:LENGTH], images[:LENGTH]]))
    )
    assert distance(clip[:LENGTH], changed[:LENGTH]) < 1e-5
    assert distance(clip[LENGTH:], changed[LENGTH:]) > 1e-4


@pytest.mark.parametrize("make", [control_net, t2i_adapter])
def test_several_windows_at_once(moving, make):
    net, images = make(), random_pictures(FRAMES)
    grouped, single = (
        ksampler(apply_windows(moving, windows_at_once=count), FRAMES, **apply_control(net, images)) for count in (3, 1)
    )
    assert distance(grouped, single) < 2e-5
    assert distance(grouped, ksampler(apply_windows(moving), FRAMES, **apply_control(net, images.flip(0)))) > 1e-4


@pytest.mark.parametrize("make", [control_net, t2i_adapter])
def test_one_picture_for_all_frames(moving, make):
    net, image, model = make(), random_pictures(1), apply_windows(moving)
    clip = ksampler(model, FRAMES, **apply_control(net, image))
    assert distance(clip, ksampler(model, FRAMES, **apply_control(net, image.repeat(FRAMES, 1, 1, 1)))) < 1e-5


def test_one_picture_is_encoded_once(moving):
    encoded = []
    model = apply_windows(moving, windows_at_once=1)
    ksampler(model, FRAMES, **apply_control(frame_number_net(encoded), numbered(1)))
    assert encoded == [1]


def test_pictures_for_another_number_of_frames(moving):
    model, seen = record_unet(apply_windows(moving))
    words = rf"The control image of the positive prompt \(ControlNet\) has 7 frames, but the clip has {FRAMES}"
    with pytest.raises(LoomError, match=words):
        ksampler(model, FRAMES, **apply_control(control_net(), random_pictures(7)))
    assert not seen.calls
    assert ksampler(model, FRAMES).isfinite().all()


def test_the_nets_are_as_they_were(moving):
    net = frame_number_net([])
    before = dict(vars(net))
    ksampler(apply_windows(moving), FRAMES, **apply_control(net, numbered()))
    assert vars(net) == before


def follow(net, both: dict) -> dict:
    """Put the control object `net` after the ControlNets of both conds."""
    texts = {name: [[text[0][0], dict(text[0][1])]] for name, text in both.items()}
    for text in texts.values():
        net.previous_controlnet = text[0][1].get("control")
        text[0][1]["control"] = net
    return texts


@pytest.mark.parametrize("windows_at_once", [1, 3])
def test_a_control_net_before_an_object_of_another_pack(moving, windows_at_once):
    strengths, encoded = [(3 * frame) % 7 / 8 for frame in range(FRAMES)], []
    net = FrameStrengths(strengths)
    both = follow(net, apply_control(frame_number_net(encoded), numbered()))
    chained = net.previous_controlnet
    model, seen = record_options(apply_windows(moving, windows_at_once=windows_at_once))
    ksampler(model, FRAMES, **both)
    for evaluation in seen:
        chunks = len(evaluation["options"]["cond_or_uncond"])
        frames = evaluation["options"]["ad_params"]["sub_idxs"] * chunks
        expected = torch.tensor([frame / 16 + strengths[frame] for frame in frames])
        assert torch.allclose(evaluation["control"]["middle"][0][:, 0, 0, 0], expected)
    assert sum(encoded) == FRAMES
    assert len(net.levels) == STEPS
    assert net.previous_controlnet is chained


def test_a_control_net_between_objects_of_another_pack(moving):
    first, last = FrameStrengths([0.5] * FRAMES), FrameStrengths([0.25] * FRAMES)
    node = nodes.ControlNetApplyAdvanced()
    both = follow(first, {"positive": prompt(2), "negative": prompt(3)})
    both = node.apply_controlnet(*both.values(), frame_number_net([]), numbered(), 1.0, 0.0, 1.0)
    both = follow(last, dict(zip(("positive", "negative"), both, strict=True)))
    model, seen = record_options(apply_windows(moving))
    ksampler(model, FRAMES, **both)
    for evaluation in seen:
        chunks = len(evaluation["options"]["cond_or_uncond"])
        expected = torch.tensor(evaluation["options"]["ad_params"]["sub_idxs"] * chunks) / 16 + 0.75
        assert torch.allclose(evaluation["control"]["middle"][0][:, 0, 0, 0], expected)


def test_windows_at_once_change_nothing_for_an_object_that_has_one_row_for_each_frame(moving):
    net = FrameStrengths([frame / 8 for frame in range(FRAMES)])
    both = follow(net, {"positive": prompt(2), "negative": prompt(3)})
    single, grouped = (ksampler(apply_windows(moving, windows_at_once=count), FRAMES, **both) for count in (1, 3))
    assert torch.equal(grouped, single)
    assert distance(single, ksampler(apply_windows(moving), FRAMES)) > 1e-3


def patch_attention(model, read) -> dict:
    def patch(tokens, context, value, options):
        read(options)
        return tokens, context, value

    model.set_model_attn2_patch(patch)
    return {}


def wrap(kind: str):
    """Add a wrapper of this kind; the options are one of its arguments, or in the host's `model_options`."""

    def add(model, read) -> dict:
        def wrapper(executor, *args, **kwargs):
            options = [each for each in (*args, *kwargs.values()) if isinstance(each, dict)][-1]
            read(options.get("transformer_options", options))
            return executor(*args, **kwargs)

        model.add_wrapper_with_key(kind, "reader", wrapper)
        return {}

    return add


def wrap_function(model, read) -> dict:
    def wrapper(apply_model, call):
        read(call["c"]["transformer_options"])
        return apply_model(call["input"], call["timestep"], **call["c"])

    model.set_model_unet_function_wrapper(wrapper)
    return {}


def hook_one_cond(model, read) -> dict:
    """Add the patch by a hook of the positive prompt, which the host does not put on the model."""
    patched = model.clone()
    patch_attention(patched, read)
    patches = patched.model_options["transformer_options"]["patches"]["attn2_patch"]
    hooks = HookGroup()
    hooks.add(TransformerOptionsHook({"patches": {"attn2_patch": patches}}, EnumHookScope.HookedOnly))
    return {"positive": set_hooks_for_conditioning(prompt(2), hooks)}


READERS = {
    "a patch": patch_attention,
    "a wrapper of the UNet": wrap(WrappersMP.DIFFUSION_MODEL),
    "a wrapper of the model": wrap(WrappersMP.APPLY_MODEL),
    "a wrapper of the conds": wrap(WrappersMP.CALC_COND_BATCH),
    "a function of the model": wrap_function,
    "a hook of one prompt": hook_one_cond,
}


@pytest.mark.parametrize("kind", READERS)
def test_code_of_another_pack_sees_the_frames_of_one_window(moving, kind):
    lengths = []

    def read(options):
        frames = options["ad_params"]["sub_idxs"]
        lengths.append((len(frames), len(set(frames))))

    model = moving.clone()
    prompts = READERS[kind](model, read)
    ksampler(apply_windows(model, windows_at_once=3), FRAMES, steps=1, **prompts)
    assert set(lengths) == {(LENGTH, LENGTH)}


def test_wrappers_of_this_pack_and_of_the_host_leave_windows_at_once(moving):
    model, seen = record_unet(apply_windows(moving, windows_at_once=3))
    hooks = HookGroup()
    hooks.add(TransformerOptionsHook({"wrappers": {}}, EnumHookScope.HookedOnly))
    ksampler(model, FRAMES, steps=1, positive=set_hooks_for_conditioning(prompt(2), hooks))
    assert max(call["x"].shape[0] for call in seen.calls) > LENGTH


@pytest.mark.parametrize("make", [lambda: FrameStrengths([]), object])
def test_an_object_that_slices_itself_is_left_alone(make):
    net = make()
    assert WindowControls(FrameSlice((0, 1), 4), ContextRun()).find(net) is net
    assert not list(list_frame_counts({"control": net}, "the positive prompt"))
