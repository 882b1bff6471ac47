"""The Prompt Schedule node in the host: every frame is sampled with its own prompt, and mistakes show when queued."""

import asyncio
import importlib
from concurrent.futures import ThreadPoolExecutor

import execution
import pytest
import torch
from animatediff_loom.nodes.prompt_schedule import PromptSchedule
from animatediff_loom.sampling.prompts.schedule import PromptScheduleError
from comfy.context_windows import ContextFuseMethods, ContextSchedules

import nodes
from tests.support.host import WIDTH_G, encode_text, record_encodings, tiny_clip, tiny_model_for_text
from tests.support.motion_files import TINY_WIDTHS
from tests.support.motion_models import apply_motion, load_motion
from tests.support.sampling import FRAMES, call, distance, host_node, ksampler, record_unet

EXACT, DIFFERENT = 1e-4, 1e-3
TRAVEL = "0-1: a red circle\n...\n3: a blue square"
MOTIONS = {
    "SD1.5": {"widths": TINY_WIDTHS["SD1.5"]},
    "SDXL": {"widths": TINY_WIDTHS["SDXL"], "family": "AnimateDiff-SDXL beta"},
}


@pytest.fixture(scope="module", params=("SD1.5", "SDXL"))
def base(request):
    return request.param


@pytest.fixture(scope="module")
def clip(base):
    return tiny_clip(base)


@pytest.fixture(scope="module")
def model(base):
    return tiny_model_for_text(base)


@pytest.fixture(scope="module")
def moving(model, base):
    return apply_motion(model, load_motion(**MOTIONS[base]))


@pytest.fixture(scope="module")
def sampled(clip):
    """The KSampler with a negative prompt of `clip`."""
    negative = encode_text(clip, "blurry")
    return lambda model, positive, **inputs: ksampler(model, positive=positive, negative=negative, **inputs)


def travel(clip, text: str = TRAVEL, frames: int = FRAMES, **inputs) -> list:
    return call(PromptSchedule, clip=clip, text=text, frames=frames, interpolation="linear", **inputs)


def of_frame(conditioning: list, frame: int) -> list:
    """The prompt of one frame, for all frames."""
    ((text, extra),) = conditioning
    only = slice(frame, frame + 1)
    return [[text[only], extra | {"pooled_output": extra["pooled_output"][only]}]]


def assert_each_as_alone(clip_of, conditioning: list) -> None:
    """Every frame is the one that a run has in its place in which all frames have its prompt."""
    batched = clip_of(conditioning)
    alone = [clip_of(of_frame(conditioning, frame)) for frame in range(FRAMES)]
    for frame in range(FRAMES):
        near = [distance(batched[frame], clip[frame]) for clip in alone]
        assert near[frame] < EXACT and max(near) > DIFFERENT


@pytest.mark.parametrize("interpolation", ["linear", "spherical"])
def test_every_frame_is_sampled_with_its_own_prompt(model, clip, sampled, interpolation):
    conditioning = call(PromptSchedule, clip=clip, text=TRAVEL, frames=FRAMES, interpolation=interpolation)
    assert_each_as_alone(lambda positive: sampled(model, positive), conditioning)


def test_a_frame_of_one_prompt_is_that_of_the_hosts_node(model, clip, sampled):
    batched = sampled(model, travel(clip))
    for frame, text in ((0, "a red circle"), (1, "a red circle"), (3, "a blue square")):
        assert distance(batched[frame], sampled(model, encode_text(clip, text))[frame]) < EXACT


@pytest.mark.parametrize("easing", ["linear", "hold"])
def test_one_prompt_is_the_hosts_prompt(model, moving, clip, sampled, easing):
    same = travel(clip, "0: a red circle", easing=easing)
    for each in (model, moving):
        assert torch.equal(sampled(each, same), sampled(each, encode_text(clip, "a red circle")))


def test_the_pooled_output_of_sdxl_follows_the_frames():
    clip, model = tiny_clip("SDXL"), tiny_model_for_text("SDXL")
    ((text, extra),) = travel(clip)
    same_text = [[text[:1].repeat(FRAMES, 1, 1), extra]]
    assert_each_as_alone(lambda positive: ksampler(model, positive=positive, negative=positive, cfg=1.0), same_text)


def test_the_unet_of_a_moving_clip_gets_the_prompt_of_every_frame(moving, clip, sampled, base):
    ((text, extra),) = travel(clip)
    model, seen = record_unet(moving)
    sampled(model, [[text, extra]])
    for call_ in seen.calls:
        positive = slice(call_["chunks"].index(0) * FRAMES, (call_["chunks"].index(0) + 1) * FRAMES)
        assert torch.equal(call_["context"][positive], text)
        if base == "SDXL":
            assert torch.equal(call_["y"][positive, :WIDTH_G], extra["pooled_output"])


def test_a_travel_moves(model, moving, clip, sampled):
    clips = [sampled(each, positive) for each in (model, moving) for positive in (travel(clip), travel(clip, "0: a"))]
    assert all(each.isfinite().all() for each in clips)
    assert distance(clips[2], clips[0]) > DIFFERENT and distance(clips[2], clips[3]) > DIFFERENT


def test_frames_of_one_prompt_feel_those_of_another_through_the_motion_model(moving, clip, sampled):
    batched = sampled(moving, travel(clip))
    assert distance(batched[0], sampled(moving, encode_text(clip, "a red circle"))[0]) > DIFFERENT


def test_windows_of_the_host_have_the_prompts_of_their_frames(model, clip, sampled):
    conditioning = travel(clip, "0: a red circle\n5: a blue square", frames=6)
    whole = sampled(model, conditioning, frames=6)
    assert distance(sampled(in_windows_of_three(model), conditioning, frames=6), whole) < EXACT


def in_windows_of_three(model):
    """By the host's node, without overlap."""
    node = host_node("nodes_context_windows.ContextWindowsManualNode")
    inputs = {"context_length": 3, "context_overlap": 0, "context_schedule": ContextSchedules.STATIC_STANDARD}
    inputs |= {"context_stride": 1, "closed_loop": False, "fuse_method": ContextFuseMethods.PYRAMID, "dim": 0}
    return call(node, model=model, freenoise=False, **inputs)


def test_prompts_of_different_length_are_sampled_as_the_host_pads_them(model, clip, sampled):
    long = "a very long road through the hills and the woods, " * 8
    batched = sampled(model, travel(clip, f"0: short\n3: {long}", easing="hold"))
    for frame, text in ((0, "short"), (2, "short"), (3, long)):
        assert distance(batched[frame], sampled(model, encode_text(clip, text))[frame]) < EXACT


def test_prefix_suffix_and_table(clip):
    result = PromptSchedule.execute(clip, "0: a cat\n2: a dog", 3, "linear", prefix="photo,", suffix="sharp")
    ((text, _),), table, _ = result.result
    assert torch.equal(text[0], encode_text(clip, "photo, a cat, sharp")[0][0][0])
    assert torch.equal(text[2], encode_text(clip, "photo, a dog, sharp")[0][0][0])
    assert table.splitlines() == ["prefix: photo", "suffix: sharp", "0: a cat", "1: 50% a cat | 50% a dog", "2: a dog"]


def negative_of(clip, text: str, frames: int = FRAMES, **inputs) -> list:
    return PromptSchedule.execute(clip, text, frames, "linear", **inputs).result[2]


def test_without_a_negative_prompt_the_last_output_is_the_empty_prompt(clip):
    ((text, extra),), ((expected, extra_expected),) = negative_of(clip, TRAVEL), encode_text(clip, "")
    assert torch.equal(text, expected) and torch.equal(extra["pooled_output"], extra_expected["pooled_output"])


def test_the_negative_prompts_follow_the_frames(clip):
    ((text, extra),) = negative_of(clip, "0: a --neg b\n2: c --neg d", 3, prefix="photo --neg drawing")
    ((start, start_extra),), ((end, _),) = encode_text(clip, "drawing, b"), encode_text(clip, "drawing, d")
    assert torch.equal(text[0], start[0]) and torch.equal(text[2], end[0])
    assert torch.equal(extra["pooled_output"][0], start_extra["pooled_output"][0])
    torch.testing.assert_close(text[1], (start[0] + end[0]) / 2)
    assert torch.equal(travel(clip, "0: a --neg b\n2: c", 3)[0][0], travel(clip, "0: a\n2: c", 3)[0][0])


def test_a_negative_prompt_does_not_ask_for_its_content(model, clip):
    """The clip of `a --neg b` is that of a positive and a negative CLIP Text Encode."""
    positive, _, negative = PromptSchedule.execute(clip, "0: a --neg b", FRAMES, "linear").result
    separate = ksampler(model, positive=encode_text(clip, "a"), negative=encode_text(clip, "b"))
    assert distance(ksampler(model, positive=positive, negative=negative), separate) < EXACT


@pytest.mark.parametrize("interpolation", ["linear", "spherical"])
def test_parts_of_a_long_video_are_those_of_the_whole(clip, interpolation):
    text = "0: a cat --neg b\n5-7: a dog\n11: a bird --neg c"
    whole = PromptSchedule.execute(clip, text, 12, interpolation).result
    for start, frames in ((0, 4), (4, 4), (8, 4), (3, 1)):
        part = PromptSchedule.execute(clip, text, frames, interpolation, start_frame=start).result
        for output in (0, 2):
            ((features, extra),), ((expected, extra_expected),) = part[output], whole[output]
            assert torch.equal(features, expected[start : start + frames])
            pooled = extra_expected["pooled_output"][start : start + frames]
            assert torch.equal(extra["pooled_output"], pooled)
        assert part[1].splitlines()[-frames:] == whole[1].splitlines()[-12:][start : start + frames]


def test_nothing_is_encoded_when_the_text_has_a_mistake(base):
    clip = tiny_clip(base)
    asked = record_encodings(clip)
    with pytest.raises(PromptScheduleError, match="line 2, column 1"):
        travel(clip, "0: a cat\n8 a dog")
    assert asked == []


@pytest.fixture
def queued(monkeypatch):
    """Return the answer of the host when a workflow with this node and links to it is queued."""
    primitive = importlib.import_module("comfy_extras.nodes_primitive")
    known = {"LoomPromptSchedule": PromptSchedule, "PrimitiveString": primitive.String, "PrimitiveInt": primitive.Int}
    for name, node in known.items():
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, name, node)

    def queue(**inputs) -> list[str]:
        prompt = {name: {"class_type": name, "inputs": {}} for name in ("CLIPLoader", *known)}
        inputs = {"clip": ["CLIPLoader", 0], "text": TRAVEL, "frames": FRAMES, "interpolation": "linear"} | inputs
        prompt["LoomPromptSchedule"]["inputs"] = {name: value for name, value in inputs.items() if value is not None}
        others = {name: (True, [], name) for name in prompt if name != "LoomPromptSchedule"}
        validation = execution.validate_inputs("prompt", prompt, "LoomPromptSchedule", others)
        with ThreadPoolExecutor(1) as own_thread:  # that of the tests may have the event loop of a browser
            _, errors, _ = own_thread.submit(asyncio.run, validation).result()
        return [error["details"] for error in errors]

    return queue


def test_a_mistake_is_shown_when_the_workflow_is_queued(queued):
    assert queued() == []
    (report,) = queued(text="a cat")
    assert "in line 1, column 1. Write a frame number" in report
    assert queued(frames=0) == queued(frames=100_001) == ["frames"]
    assert queued(start_frame=-1) == ["start_frame"]
    assert queued(interpolation="cubic")[0].startswith("interpolation")
    assert queued(text="a cat", frames=None)[0] == "frames"
    assert queued(text="0: a\n99999: b", frames=100_000) == []


def test_linked_inputs_are_looked_at_when_they_are_known(queued):
    assert queued(text=["PrimitiveString", 0]) == queued(frames=["PrimitiveInt", 0]) == []
    (report,) = queued(text="a cat", frames=["PrimitiveInt", 0])
    assert "Write a frame number" in report
