"""Prompts through the host's own text encoders: once each, frame by frame, and what cannot follow the frames."""

import pytest
import torch
from animatediff_loom.sampling.prompts.blending import check_memory
from animatediff_loom.sampling.prompts.encoding import encode_prompts
from animatediff_loom.sampling.prompts.schedule import Blend, parse_schedule, plan_blends
from comfy.hooks import create_hook_lora
from comfy.model_management import get_free_memory
from safetensors.torch import save_file

from tests.support.host import WIDTH_G, WIDTH_L, encode_text, record_encodings, tiny_clip
from tests.support.motion_files import random_weight
from tests.support.sampling import call, host_node
from tests.support.texts import expect_error

FRAMES = 7
LONG = "a very long road through the hills and the woods, " * 12


@pytest.fixture(scope="module", params=("SD1.5", "SDXL"))
def clip(request):
    return tiny_clip(request.param)


def scheduled(clip, text: str, interpolation: str = "linear", frames: int = FRAMES) -> list:
    keys = parse_schedule(text, frames)
    return encode_prompts(clip, [key.prompt for key in keys], plan_blends(keys, frames), interpolation)


def arc(start: torch.Tensor, end: torch.Tensor, t: float) -> torch.Tensor:
    """Turned in the plane of both, in float64, with the angle from its tangent, and as long as lies between them."""
    lengths = [vector.double().norm(dim=-1, keepdim=True) for vector in (start, end)]
    first, last = (vector.double() / length for vector, length in zip((start, end), lengths, strict=True))
    along = (first * last).sum(-1, keepdim=True)
    across = last - along * first
    angle = t * torch.atan2(across.norm(dim=-1, keepdim=True), along)
    turned = angle.cos() * first + angle.sin() * across / across.norm(dim=-1, keepdim=True)
    return turned * ((1 - t) * lengths[0] + t * lengths[1])


@pytest.mark.parametrize("interpolation", ("linear", "spherical"))
def test_a_frame_of_one_prompt_has_what_the_host_encodes(clip, interpolation):
    ((text, extra),) = scheduled(clip, "0-2: a (red:1.4) circle\n6: a blue square", interpolation)
    assert text.shape[0] == extra["pooled_output"].shape[0] == FRAMES
    for frames, prompt in (((0, 1, 2), "a (red:1.4) circle"), ((6,), "a blue square")):
        ((expected, extra_expected),) = encode_text(clip, prompt)
        assert all(torch.equal(text[frame], expected[0]) for frame in frames)
        pooled = extra_expected["pooled_output"][0]
        assert all(torch.equal(extra["pooled_output"][frame], pooled) for frame in frames)
        assert extra.keys() == extra_expected.keys()


def test_linear_between_prompts(clip):
    ((text, extra),) = scheduled(clip, "0: a red circle\n4: a blue square")
    ((start, start_extra),), ((end, end_extra),) = encode_text(clip, "a red circle"), encode_text(clip, "a blue square")
    torch.testing.assert_close(text[1:2], 0.75 * start + 0.25 * end)
    pooled = 0.75 * start_extra["pooled_output"] + 0.25 * end_extra["pooled_output"]
    torch.testing.assert_close(extra["pooled_output"][1:2], pooled)
    assert not torch.allclose(start, end, atol=1e-2) and not torch.allclose(
        pooled, end_extra["pooled_output"], atol=1e-2
    )


def test_spherical_between_prompts_in_each_encoder(clip):
    ((text, extra),) = scheduled(clip, "0: a red circle\n4: a blue square", "spherical")
    ((start, start_extra),), ((end, end_extra),) = encode_text(clip, "a red circle"), encode_text(clip, "a blue square")
    widths = [WIDTH_L, WIDTH_G] if text.shape[-1] == WIDTH_L + WIDTH_G else [WIDTH_L]
    pairs = zip(start.split(widths, -1), end.split(widths, -1), strict=True)
    expected = torch.cat([arc(*pair, 0.25) for pair in pairs], -1)
    words = slice(2, 6)  # those before are the same in both, and have no angle
    torch.testing.assert_close(text[1, words].double(), expected[0, words], atol=1e-5, rtol=1e-5)
    pooled = arc(start_extra["pooled_output"], end_extra["pooled_output"], 0.25)
    torch.testing.assert_close(extra["pooled_output"][1:2].double(), pooled, atol=1e-5, rtol=1e-5)


def test_every_distinct_prompt_is_encoded_once(clip):
    clip = tiny_clip("SDXL" if "g" in clip.tokenize("") else "SD1.5")
    asked = record_encodings(clip)
    scheduled(clip, "0: one\n1: two\n2: one\n...\n3: three\n5: two\n6: one")
    assert len(asked) == 3 and asked == [clip.tokenize(prompt) for prompt in ("one", "two", "three")]


def test_prompts_outside_the_clip_are_not_encoded():
    clip = tiny_clip()
    asked = record_encodings(clip)
    keys = parse_schedule(f"0: {LONG}\n2: one\n6: two\n8: {LONG}", 3, 3)
    blends = plan_blends(keys, 3, start_frame=3)
    ((text, _),) = encode_prompts(clip, [key.prompt for key in keys], blends, "linear")
    assert asked == [clip.tokenize(prompt) for prompt in ("one", "two")]
    ((one, _),), ((two, _),) = encode_text(clip, "one"), encode_text(clip, "two")
    torch.testing.assert_close(text, torch.cat([torch.lerp(one, two, t) for t in (0.25, 0.5, 0.75)]))


def test_features_larger_than_the_free_memory_are_refused_with_a_figure():
    clip, frames = tiny_clip(), 100_000
    ((text, _),) = encode_text(clip, "a")
    copies = int(get_free_memory(text.device)) // (frames * text.nbytes) + 2
    blends = [Blend(0, 0, 0.0)] * frames
    with expect_error(
        "The text features of 100000 frames need", "GB of memory are free", "Lower `frames` to", "`start_frame`"
    ):
        encode_prompts(clip, ["road " * 75 * copies], blends, "linear")


def test_the_memory_is_that_of_the_common_length_of_prompts():
    """Prompts of two and of three sections become features of six."""
    clip = tiny_clip()
    ((text, _),) = encode_text(clip, "a")
    frames = int(get_free_memory(text.device) / (4.5 * text.nbytes))
    with expect_error(f"The text features of {frames} frames need", "GB of memory are free", "Lower `frames` to"):
        encode_prompts(clip, ["road " * 75 * 2, "road " * 75 * 3], [Blend(0, 1, 0.5)] * frames, "linear")


def test_the_limit_of_frames_is_that_of_the_memory():
    features = [torch.zeros(1, 77, 32)]
    check_memory(features, 100, 100 * 77 * 32 * 4)
    with expect_error("100 frames need 0.0 GB", "Lower `frames` to 99 or less"):
        check_memory(features, 100, 100 * 77 * 32 * 4 - 1)


def test_prompts_of_different_length_are_repeated_to_one(clip):
    ((text, _),) = scheduled(clip, f"0: short\n6: {LONG}")
    ((short, _),), ((long, _),) = encode_text(clip, "short"), encode_text(clip, LONG)
    assert text.shape[1] == long.shape[1] > short.shape[1]
    assert torch.equal(text[0], short[0].repeat(long.shape[1] // short.shape[1], 1))
    assert torch.equal(text[6], long[0])
    torch.testing.assert_close(text[3], (text[0] + text[6]) / 2)


def test_embeddings(tmp_path):
    save_file({"emb_params": torch.ones(2, WIDTH_L)}, tmp_path / "soft.safetensors")
    clip = tiny_clip(embeddings=str(tmp_path))
    ((text, _),) = scheduled(clip, "0: a cat, embedding:soft, (red:1.2)\n6: a cat")
    assert torch.equal(text[0], encode_text(clip, "a cat, embedding:soft, (red:1.2)")[0][0][0])
    assert not torch.allclose(text[0], encode_text(clip, "a cat, (red:1.2)")[0][0][0], atol=1e-2)


def with_scheduled_lora(clip, schedule_clip: bool = True):
    """The host's CLIP hooks: a LoRA on the text encoder that begins in the middle of sampling."""
    generator = torch.Generator().manual_seed(0)
    key = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    shapes = {f"{key}.lora_up.weight": (32, 4), f"{key}.lora_down.weight": (4, WIDTH_L)}
    lora = {name: random_weight(name, shape, generator) for name, shape in shapes.items()}
    begin = call(host_node("nodes_hooks.CreateHookKeyframe"), strength_mult=0.0, start_percent=0.0)
    begin = call(host_node("nodes_hooks.CreateHookKeyframe"), strength_mult=1.0, start_percent=0.5, prev_hook_kf=begin)
    hooks = call(host_node("nodes_hooks.SetHookKeyframes"), hooks=create_hook_lora(lora, 1.0, 1.0), hook_kf=begin)
    node = host_node("nodes_hooks.SetClipHooks")
    return call(node, clip=clip, apply_to_conds=True, schedule_clip=schedule_clip, hooks=hooks)


def test_hooks_that_change_the_encoder_while_sampling_give_an_entry_per_range():
    clip = with_scheduled_lora(tiny_clip())
    entries = scheduled(clip, "0: a red circle\n6: a blue square")
    starts, ends = encode_text(clip, "a red circle"), encode_text(clip, "a blue square")
    assert len(entries) == len(starts) == 2
    for (text, extra), (start, start_extra), (end, _) in zip(entries, starts, ends, strict=True):
        assert torch.equal(text[0], start[0]) and torch.equal(text[6], end[0])
        torch.testing.assert_close(text[3], (start[0] + end[0]) / 2)
        others = {name: value for name, value in start_extra.items() if name != "pooled_output"}
        assert {name: extra[name] for name in others} == others
        assert {"clip_start_percent", "clip_end_percent", "hooks"} <= others.keys()
    assert not torch.allclose(entries[0][0], entries[1][0], atol=1e-3)


def test_hooks_of_the_whole_run_are_passed_on():
    clip = with_scheduled_lora(tiny_clip(), schedule_clip=False)
    ((_, extra),) = scheduled(clip, "0: one\n6: two")
    assert extra["hooks"] is encode_text(clip, "one")[0][1]["hooks"]


def test_what_differs_between_prompts_and_is_no_feature_is_refused():
    """An encoder that returns its attention masks, as those of other models do."""
    clip = tiny_clip()
    clip.cond_stage_model.clip_l.return_attention_masks = True
    ((_, extra),) = scheduled(clip, "0: one\n6: two")
    assert torch.equal(extra["attention_mask"], encode_text(clip, "one")[0][1]["attention_mask"])
    with expect_error("`clip` gives each prompt a different 'attention_mask'", "Connect the CLIP of an SD1.5 or SDXL"):
        scheduled(clip, "0: one\n6: two words")


def test_no_text_encoder():
    with expect_error("`clip` is empty", "Connect a checkpoint with a text encoder"):
        scheduled(None, "0: one")
