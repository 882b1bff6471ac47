"""Motion Strength on a tiny UNet in the host's own patcher and samplers."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from animatediff_loom.motion_modules.architectures.architecture import Architecture
from animatediff_loom.motion_modules.noise_schedule import find_progress, has_started
from animatediff_loom.nodes.motion_strength import MotionStrengthNode
from animatediff_loom.sampling.steering.strength import check_mask, read_levels
from comfy_api.input import CurveInput

from tests.support.host import tiny_model
from tests.support.motion_models import KEYS, Gain, Width, apply_motion, apply_windows, load_motion, random_motion
from tests.support.sampling import LATENT_SIZE, call, prompt, sample
from tests.support.texts import expect_error

FRAMES = 6
HALF = torch.cat((torch.ones(8, 4), torch.zeros(8, 4)), dim=1)  # white on the left


def strength(**inputs: Any):
    """The MOTION_STRENGTH of a node; the host hands it a list for each input."""
    return call(MotionStrengthNode, **{name: [value] for name, value in ({"strength": 1.0} | inputs).items()})


@pytest.fixture(scope="module")
def plain():
    return tiny_model()


@pytest.fixture(scope="module")
def motion_model():
    return load_motion(scale=3.0)


class Watch:
    """Keeps the input, output, field of the strength and frames of every motion module that runs."""

    def __init__(self):
        self.calls: list[dict] = []

    def __call__(self, executor, x, timesteps, context, y=None, control=None, transformer_options=None, **kwargs):
        return executor(x, timesteps, context, y, control, {**transformer_options, "loom_observer": self}, **kwargs)

    taps = ()

    def watch(self, owner, site, module, x, inputs, options):
        moved = module(x, inputs)
        self.calls.append({"site": site, "x": x, "moved": moved, "module": module, "inputs": inputs})
        return moved

    __module__ = "comfy"


def watched(model, frames: int = FRAMES, **options) -> list[dict]:
    clone, watch = model.clone(), Watch()
    clone.add_wrapper_with_key("diffusion_model", "test", watch)
    sample(clone, frames, **({"steps": 1} | options))
    assert watch.calls
    return watch.calls


def change(seen: dict) -> torch.Tensor:
    """The largest change of each frame and place of a feature map, `[batch, height, width]`."""
    return (seen["moved"] - seen["x"]).abs().amax(1)


ONES = {
    "value": {},
    "curves": {"frame_curve": "0: 1, 5: 1", "progress_curve": "0: 1", "sites": "*: 1"},
    "mask": {"mask": torch.ones(1, 8, 8)},
    "levels": {"levels": [1.0] * FRAMES},
}


@pytest.mark.parametrize("inputs", ONES.values(), ids=ONES)
def test_strength_1_everywhere_is_bit_identical_to_none(plain, motion_model, inputs):
    both = {name: strength(**inputs) for name in ("motion_strength", "motion_attention_scale")}
    ours = sample(apply_motion(plain, motion_model, **both), FRAMES)
    assert torch.equal(ours, sample(apply_motion(plain, motion_model), FRAMES))


def test_a_number_is_the_scalar_of_apply_motion_model(plain, motion_model):
    half = strength(strength=0.5, previous=strength(strength=0.5))
    for scalar, variation in (("strength", "motion_strength"), ("attention_scale", "motion_attention_scale")):
        ours = apply_motion(plain, motion_model, **{variation: half, scalar: 2.0})
        assert torch.equal(sample(ours, FRAMES), sample(apply_motion(plain, motion_model, **{scalar: 0.5}), FRAMES))


@pytest.mark.parametrize("inputs", [{"strength": 0.0}, {"sites": "*: 0"}], ids=["value", "sites"])
def test_strength_0_is_bit_identical_to_no_motion(plain, motion_model, inputs):
    still = apply_motion(plain, motion_model, beta_schedule="auto", motion_strength=strength(**inputs))
    assert torch.equal(sample(still, FRAMES), sample(plain, FRAMES))


@pytest.mark.parametrize("key", KEYS)
def test_frames_of_strength_0_pass_every_architecture_unchanged(plain, key):
    motion = random_motion(plain, key)
    model = apply_motion(plain, motion, motion_strength=strength(levels=[1, 1, 1, 0, 0, 0]))
    for seen in watched(model):
        by_frame = change(seen).amax((1, 2)).view(-1, FRAMES)
        assert by_frame[:, 3:].max() == 0 < by_frame[:, :3].min()


def test_the_formula_at_every_site(plain, motion_model):
    """x + s(frame, y, x) strength (module(x) - x), with a mask of another size than the feature maps."""
    levels, mask = [0.2, 0.4, 0.6, 0.8, 1.0, 2.0], torch.rand(FRAMES, 16, 16)
    varied = strength(levels=levels, mask=mask, strength=0.5, sites="up: 0.5", frame_curve="0: 1, 5: 3")
    model = apply_motion(plain, motion_model, motion_strength=varied, strength=1.5)
    curve = torch.tensor([1, 1.4, 1.8, 2.2, 2.6, 3])
    for seen in watched(model):
        height, width = seen["x"].shape[-2:]
        area = F.interpolate(mask[:, None], (height, width), mode="area")
        s = (torch.tensor(levels) * curve)[:, None, None, None] * area
        assert seen["inputs"].strength == 0.75 * (0.5 if seen["site"].startswith("up") else 1)
        x, module = seen["x"], seen["module"].module
        expected = x + s.repeat(2, 1, 1, 1) * (module(x, seen["inputs"]) - x)
        assert torch.allclose(seen["moved"], expected, atol=1e-4)


def test_a_mask_leaves_its_black_half(plain, motion_model):
    model = apply_motion(plain, motion_model, motion_strength=strength(mask=HALF[None]))
    for seen in watched(model):
        width = seen["x"].shape[-1]
        if width > 1:
            assert change(seen)[..., width // 2 :].max() == 0 < change(seen)[..., : width // 2].min()


@pytest.mark.parametrize(
    ("schedule", "settings"),
    [("static", {}), ("static", {"windows_at_once": 1}), ("looped", {"closed_loop": True}), ("view", {})],
    ids=str,
)
def test_windows_follow_the_frames_of_the_clip(plain, motion_model, schedule, settings):
    """With one level per frame, each window has the levels of its frames."""
    levels = [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    model = apply_motion(plain, motion_model, motion_strength=strength(levels=levels))
    clone, seen = apply_windows(model, schedule, **settings).clone(), []

    def keep(executor, x, *arguments, **more):
        options = arguments[-1]
        numbers = (options.get("ad_params") or {}).get("sub_idxs") or list(range(len(levels)))
        seen.append(numbers)
        return executor(x, *arguments, **more)

    keep.__module__ = "comfy"
    clone.add_wrapper_with_key("diffusion_model", "windows", keep)
    watch = Watch()
    clone.add_wrapper_with_key("diffusion_model", "test", watch)
    sample(clone, len(levels), steps=2)
    sites = len(watch.calls) // len(seen)
    for number, call_ in enumerate(watch.calls):
        numbers = seen[number // sites]
        moving = (change(call_).amax((1, 2)) > 0).view(-1, len(numbers))
        assert moving.tolist() == [[levels[frame] > 0 for frame in numbers]] * len(moving)


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_2"])
def test_progress_is_that_of_the_noise_level_of_each_evaluation(plain, motion_model, sampler):
    curve = strength(progress_curve="0: 0.5 hold, 0.5: 0 hold, 0.7: 1")
    model = apply_motion(plain, motion_model, motion_strength=curve)
    sampling, expected = plain.get_model_object("model_sampling"), []

    def keep(executor, x, t, *arguments, **more):
        sigma = float(t.max())
        late, later = (has_started(percent, sigma, sampling) for percent in (0.5, 0.7))
        expected.append(1.0 if later else 0.0 if late else 0.5)
        return executor(x, t, *arguments, **more)

    keep.__module__ = "comfy"
    clone = model.clone()
    clone.add_wrapper_with_key("apply_model", "test", keep)
    seen = [each["inputs"].strength for each in watched(clone, 2, steps=6, sampler=sampler)]
    sites = len(motion_model.specs)
    assert seen == [value for value in expected if value for _ in range(sites)] and len(set(expected)) == 3


def test_progress_inverts_the_noise_schedule(plain):
    sampling = plain.get_model_object("model_sampling")
    for percent in (0.001, 0.123, 0.3, 0.5, 0.999):
        assert abs(find_progress(sampling.percent_to_sigma(percent), sampling) - percent) < 2e-5
    assert find_progress(float(sampling.sigma_max), sampling) == 0 and find_progress(0.0, sampling) == 1


@pytest.mark.parametrize("schedule", [None, "view"])
@pytest.mark.parametrize("key", ["temporal_transformer", "low_rank_attention", "space_time_attention"])
def test_attention_scale_of_a_frame_is_that_of_its_queries(plain, key, schedule):
    """In the first modules that attend, a frame of scale 2 gets what all frames get at scale 2."""
    motion = random_motion(plain, key)
    scales = {"mixed": strength(levels=[2, 2, 2, 1, 1, 1], mask=torch.ones(1, 8, 8)), "two": strength(strength=2.0)}
    first = {}
    for name, scale in scales.items():
        model = apply_motion(plain, motion, motion_attention_scale=scale)
        first[name] = watched(apply_windows(model, schedule, length=4) if schedule else model)[0]["moved"]
    first["one"] = watched(apply_windows(apply_motion(plain, motion), schedule, length=4) if schedule else
                           apply_motion(plain, motion))[0]["moved"]  # fmt: skip
    mixed, two, one = (first[name].unflatten(0, (2, FRAMES)) for name in ("mixed", "two", "one"))
    if key == "temporal_transformer":  # its second attention sees what the first one made of other frames
        assert not torch.equal(mixed, two) and not torch.equal(mixed, one)
        return
    assert torch.allclose(mixed[:, :3], two[:, :3], atol=1e-5) and torch.allclose(mixed[:, 3:], one[:, 3:], atol=1e-5)
    assert not torch.allclose(two, one, atol=1e-4)


def test_a_mask_scales_the_attention_of_its_places(plain):
    motion = random_motion(plain, "temporal_transformer")
    (mixed, two, one) = (
        watched(apply_motion(plain, motion, motion_attention_scale=strength(**inputs)))[0]["moved"]
        for inputs in ({"mask": HALF[None] + 1}, {"strength": 2.0}, {})
    )
    half = mixed.shape[-1] // 2
    assert torch.allclose(mixed[..., :half], two[..., :half], atol=1e-5)
    assert torch.allclose(mixed[..., half:], one[..., half:], atol=1e-5) and not torch.allclose(two, one, atol=1e-4)


def test_curves_of_the_host_and_lists_of_other_nodes():
    drawn = CurveInput.from_raw({"points": [(0, 0), (1, 1)], "interpolation": "linear"})
    field = strength(drawn_curve=drawn, levels=torch.tensor([1.0, 0.0, 1.0]), level_floor=0.5).draw(3, 2, 2)
    assert field.flatten().tolist() == [0.0, 0.25, 1.0]
    spread = call(MotionStrengthNode, strength=[1.0], levels=[0.5, 1.0, 0.25])  # a list of the host's own kind
    assert spread.draw(3, 2, 2).flatten().tolist() == [0.5, 1.0, 0.25]
    assert read_levels([[0.5, 1]]) == (0.5, 1.0)


REFUSED = {
    "levels": ({"levels": [1.0] * 5}, ("`levels`", "5 values", "6 frames", "`batch_size`")),
    "masks": ({"mask": torch.ones(4, 8, 8)}, ("`mask`", "4 frames", "the clip has 6")),
    "points": ({"frame_curve": "5: 1, 50%: 0"}, ("50% (frame 3)",)),
}


@pytest.mark.parametrize(("inputs", "parts"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("name", ["motion_strength", "motion_attention_scale"])
def test_wrong_lengths_are_refused_before_sampling(plain, motion_model, name, inputs, parts):
    model = apply_motion(plain, motion_model, **{name: strength(**inputs)})
    model.add_wrapper_with_key("diffusion_model", "test", lambda *arguments, **more: pytest.fail("sampling began"))
    with expect_error(*parts):
        sample(model, FRAMES)


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: strength(levels=[0.5, float("nan")]), ("`levels`", "nan at frame 1")),
        (lambda: strength(levels=["loud"]), ("'loud'", "not a number")),
        (lambda: strength(strength=11.0), ("`strength`", "11", "0 to 10")),
        (lambda: check_mask(torch.full((1, 2, 2), -1.0)), ("`mask`", "-1")),
        (lambda: check_mask(torch.ones(1, 2, 2, 3)), ("`mask`", "[1, 2, 2, 3]")),
        (lambda: call(MotionStrengthNode, strength=[1.0, 2.0]), ("`strength`", "2 values", "`levels`")),
    ],
)
def test_wrong_values_are_refused(make, parts):
    with expect_error(*parts):
        make()


def test_sites_that_a_motion_model_lacks_are_refused(plain, motion_model):
    with expect_error("`sites`", "'down.7'", "matches no site"):
        apply_motion(plain, motion_model, motion_strength=strength(sites="down.7: 0.5"))


def test_a_mask_cannot_follow_an_area_of_the_latent(plain, motion_model):
    area = {"area": (LATENT_SIZE // 2, LATENT_SIZE, 0, 0), "strength": 1.0}
    model = apply_motion(plain, motion_model, motion_strength=strength(mask=HALF[None]))
    with expect_error("`mask`", "8 x 8", "8 x 4"):
        sample(model, FRAMES, positive=prompt(2, **area))


def test_a_sampler_without_a_step_where_the_curve_is_above_0_says_so(plain, motion_model):
    model = apply_motion(plain, motion_model, motion_strength=strength(progress_curve="0: 0"))
    with expect_error("`progress_curve`", "no step"):
        sample(model, FRAMES)


def test_attention_of_another_pack_with_one_scale_for_all_is_refused(plain):
    """It obeys one number for each site, but taps do not see it."""
    kind = Architecture("own_attention", Gain, Width, origin="another pack")
    motion = random_motion(plain, "low_rank_attention")
    motion = replace(motion, specs={site: replace(spec, architecture=kind) for site, spec in motion.specs.items()})
    with expect_error("`motion_attention_scale` differs between frames", "'own_attention' of 'another pack'"):
        apply_motion(plain, motion, motion_attention_scale=strength(levels=[1.0, 0.5]))
    apply_motion(plain, motion, motion_attention_scale=strength(sites="down: 0.5"))
