"""Several uses of one model in one run: stills beside clips, other motion models, copies for other devices."""

import inspect

import pytest
import torch
from animatediff_loom.motion_modules.files.loading import load_motion_model, load_motion_patcher
from animatediff_loom.motion_modules.files.replacing import STACK, replace_modules
from comfy.model_patcher import ModelPatcher
from safetensors.torch import save_file

from tests.support.host import CPU, copy_weights, same_weights, tiny_model
from tests.support.motion_files import motion_file
from tests.support.motion_models import apply_motion, apply_windows, load_motion, random_motion
from tests.support.sampling import STEPS, distance, ksampler


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("models") / "motion.safetensors"
    save_file(motion_file(), path)
    return str(path)


def test_stills_beside_clips(model):
    stills, options = ksampler(model), repr(model.model_options)
    clip_model = apply_motion(model, load_motion(24), "auto")
    clip = ksampler(clip_model)
    assert distance(clip, stills) > 1e-3
    assert torch.equal(ksampler(model), stills)
    assert torch.equal(ksampler(clip_model), clip)
    assert torch.equal(ksampler(model), stills)
    assert repr(model.model_options) == options


def test_two_clones_with_motion_models_of_their_own(model):
    one, other = apply_motion(model, load_motion()), apply_motion(model, load_motion(24, seed=7, name="other"), "auto")
    first, second = ksampler(one), ksampler(other)
    assert distance(first, second) > 1e-3
    assert torch.equal(ksampler(one), first)
    assert torch.equal(ksampler(other), second)


def test_two_strengths_of_one_motion_model(model):
    moves = load_motion()
    half, whole = apply_motion(model, moves, strength=0.5), apply_motion(model, moves)
    clips = [ksampler(half), ksampler(whole)]
    assert distance(*clips) > 1e-3
    assert torch.equal(ksampler(half), clips[0])


def test_motion_models_run_in_the_order_in_which_they_were_applied(model, still_motion):
    one, other = load_motion(), load_motion(seed=7, name="other")
    both = ksampler(apply_motion(apply_motion(model, one), other))
    assert distance(both, ksampler(apply_motion(apply_motion(model, other), one))) > 1e-3
    assert distance(both, ksampler(apply_motion(model, other))) > 1e-3
    alone = ksampler(apply_motion(model, one))
    assert torch.equal(ksampler(apply_motion(apply_motion(model, still_motion), one)), alone)
    assert torch.equal(ksampler(apply_motion(apply_motion(model, one), still_motion)), alone)


def test_one_motion_model_twice(model):
    moves = load_motion()
    twice = ksampler(apply_motion(apply_motion(model, moves), moves))
    assert distance(twice, ksampler(apply_motion(model, moves))) > 1e-3
    copy = ksampler(apply_motion(apply_motion(model, moves), load_motion(name="copy")))
    assert torch.equal(twice, copy)


def test_a_clone_of_an_animated_model_is_animated(moving):
    assert torch.equal(ksampler(moving.clone().clone()), ksampler(moving))


MADE = {
    "loaded": load_motion_model,
    "new": lambda file: random_motion(tiny_model(), "scale_shift"),
    "replaced": lambda file: replace_modules(
        load_motion_model(file), random_motion(tiny_model(), "scale_shift"), "mid, up"
    ),
    "stacked": lambda file: replace_modules(
        load_motion_model(file), random_motion(tiny_model(), "scale_shift"), "up", STACK
    ),
}


@pytest.mark.parametrize("how", MADE)
def test_each_further_device_has_a_copy_of_the_motion_model(file, how):
    if not hasattr(ModelPatcher, "deepclone_multigpu"):
        pytest.skip("this host has no clones for several GPUs")
    start = tiny_model()
    start.cached_patcher_init = (_fresh_model, ())
    clip_model = apply_motion(start, MADE[how](file))
    copy = clip_model.deepclone_multigpu(new_load_device=CPU)
    (ours,), (theirs,) = (patcher.get_nested_additional_models() for patcher in (clip_model, copy))
    assert theirs.model is not ours.model
    assert same_weights(theirs, copy_weights(ours))
    assert torch.equal(ksampler(copy), ksampler(clip_model))


@pytest.mark.parametrize("how", [how for how in MADE if how != "loaded"])
def test_a_copy_is_without_what_was_patched_in_place(file, how):
    patcher = MADE[how](file).patcher
    before = copy_weights(patcher)
    branch = patcher.clone()
    branch.add_patches({name: (torch.ones_like(weight),) for name, weight in before.items() if weight.ndim == 2})
    branch.patch_model()
    assert not same_weights(patcher, before)
    make, arguments = patcher.cached_patcher_init
    with torch.inference_mode():
        copy = make(*arguments, disable_dynamic=True)
    assert type(copy) is ModelPatcher
    assert same_weights(copy, before)
    assert not any(weight.is_inference() for weight in copy.model.parameters())


def test_conds_spread_over_clones(file):
    clip_model, spread, evaluations = _on_two_devices(file)
    clip = ksampler(spread)
    assert all(evaluations) and sum(map(len, evaluations)) == 2 * STEPS
    assert distance(clip, ksampler(clip_model)) < 1e-5


@pytest.mark.parametrize("windows_at_once", [1, 4])
@pytest.mark.parametrize("reference_until", [0.0, 1.0])
def test_windows_spread_over_clones(file, reference_until, windows_at_once):
    clip_model, spread, evaluations = _on_two_devices(file)
    more = {"windows_at_once": windows_at_once, "reference_until": reference_until}
    clip = ksampler(apply_windows(spread, **more), frames=10)
    assert all(evaluations)
    assert distance(clip, ksampler(apply_windows(clip_model, **more), frames=10)) < 1e-5


def test_views_spread_over_clones(file):
    clip_model, spread, evaluations = _on_two_devices(file)
    clip = ksampler(apply_windows(spread, "view"), frames=10)
    assert all(evaluations)
    assert distance(clip, ksampler(apply_windows(clip_model, "view"), frames=10)) < 1e-5


@pytest.mark.parametrize("width", [16, 24])
def test_tiles_spread_over_clones(file, width):
    """Two tiles run at once; the third one of a wider picture gives its windows to both devices."""
    clip_model, spread, evaluations = _on_two_devices(file)
    latent = {"samples": torch.randn(7, 4, 8, width, generator=torch.Generator().manual_seed(2))}
    tiles = {"tiles": "by size", "tile_size": 64, "tile_overlap": 0}
    clip = ksampler(apply_windows(spread, tiles=tiles), latent_image=latent, steps=1)
    assert all(evaluations)
    assert distance(clip, ksampler(apply_windows(clip_model, tiles=tiles), latent_image=latent, steps=1)) < 1e-5


def _on_two_devices(file):
    """A model, the same with a copy, and a list for each that counts evaluations.

    The host's code for several GPUs runs with the CPU under two names as its two devices.
    """
    if not hasattr(ModelPatcher, "deepclone_multigpu"):
        pytest.skip("this host has no clones for several GPUs")
    start = tiny_model()
    start.cached_patcher_init = (_fresh_model, ())
    clip_model = apply_motion(start, load_motion_model(file))
    spread = clip_model.clone()
    copy = clip_model.deepclone_multigpu(new_load_device=torch.device("cpu", 0))
    copy.is_multigpu_base_clone = True
    spread.set_additional_models("multigpu", [copy])
    return clip_model, spread, [_counted(patcher.model.diffusion_model) for patcher in (spread, copy)]


def _counted(unet) -> list:
    calls: list = []
    unet.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_a_copy_without_dynamic_memory(file):
    """The requirements of torch.compile and hooks on a model that pages its weights in."""
    patcher = load_motion_patcher(file, "auto", disable_dynamic=True)
    assert type(patcher) is ModelPatcher
    assert same_weights(patcher, copy_weights(load_motion_model(file).patcher))
    if "force_deepcopy" in inspect.signature(ModelPatcher.clone).parameters:
        assert same_weights(load_motion_model(file).patcher.clone(force_deepcopy=True), copy_weights(patcher))
    start = tiny_model()
    start.cached_patcher_init = (_fresh_model, ())
    clip_model = apply_motion(start, load_motion_model(file))
    assert torch.equal(ksampler(clip_model.clone(disable_dynamic=True)), ksampler(clip_model))


def _fresh_model(disable_dynamic: bool = False):
    return tiny_model()
