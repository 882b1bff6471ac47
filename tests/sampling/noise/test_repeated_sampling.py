"""FreeInit on a MODEL: each iteration is that of the papers' formulas by hand, under every kind of sampling."""

import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.nodes.free_init import FreeInit
from animatediff_loom.nodes.video_noise import VideoNoise
from animatediff_loom.sampling.noise.free_init import FreeInitSettings, choose_levels, plan_iterations, stop_early
from animatediff_loom.sampling.noise.frequency_filters import FilterSettings, low_pass, mix_bands, mix_powers
from animatediff_loom.sampling.noise.initial import NOISES, NoiseSettings
from animatediff_loom.sampling.noise.repeated_sampling import FRESH_SEED
from comfy.model_management import InterruptProcessingException
from comfy.samplers import KSampler

from tests.support.host import CPU, tiny_dit, tiny_model
from tests.support.motion_models import apply_motion, apply_windows
from tests.support.sampling import (
    STEPS,
    apply_control,
    call,
    control_net,
    distance,
    interrupt_during,
    ksampler_advanced,
    make_lora_hooks,
    noise,
    prompt,
    random_pictures,
    record_unet,
    sample,
    set_hooks,
    start_hooks_at,
)
from tests.support.texts import expect_error

SEED, LENGTH, EXACT, CFG = 1, 4, 1e-4, 1.0


@pytest.fixture(scope="module")
def model():
    return apply_motion(tiny_model())


def free_init(model, iterations: int = 2, filter: str = "gaussian", variance_preserving: bool = False, **advanced):
    """Return the result of the node, which stops no iteration early unless `advanced` says so."""
    return call(
        FreeInit,
        model=model,
        iterations=iterations,
        filter=filter,
        variance_preserving=variance_preserving,
        **({"early_stop": 1.0} | advanced),
    )


def run(model, **options) -> torch.Tensor:
    return sample(model, **({"noise": noise(LENGTH), "cfg": CFG, "seed": SEED} | options))


def sigmas_of(model, steps: int, sampler: str = "euler", denoise: float = 1.0) -> torch.Tensor:
    return KSampler(model, steps, CPU, sampler, "normal", denoise).sigmas


def sample_by_hand(model, iterations=2, variance_preserving=False, part=1.0, kind="", steps=STEPS, **options):
    """FreeInit without the node: whole runs of the sampler, and the formulas of the two papers between them."""
    sampler, denoise = options.get("sampler", "euler"), options.pop("denoise", 1.0)
    latent = options.setdefault("latent_image", torch.zeros_like(noise(LENGTH)))
    arrange = NOISES.get(kind, lambda noise, *_: noise)
    start = initial = arrange(noise(LENGTH), NoiseSettings(kind, 3, 2), SEED)
    generator = torch.Generator().manual_seed(SEED + FRESH_SEED)
    sigmas = sigmas_of(model, steps, sampler, denoise)
    early, passes = stop_early(sigmas, part), low_pass(FilterSettings("gaussian"), (LENGTH, 8, 8))
    highest, lowest = float(sigmas[0]), float(early[-1])
    scale = (1 + highest**2) ** 0.5 if denoise == 1 else highest
    to_sampler = model.model.process_latent_in
    for number in range(iterations):
        levels = sigmas if number == iterations - 1 else early
        samples = run(model, noise=start, steps=steps, sigmas=levels, **options)
        change = to_sampler(samples) - (to_sampler(latent) if latent.any() else latent)
        noised = (change + (highest**2 - lowest**2) ** 0.5 * initial) / scale
        whites = (torch.randn(start.shape, generator=generator) for _ in range(2))
        fresh, detail = (arrange(white, NoiseSettings(kind, 3, 2), SEED) for white in whites)
        start = mix_powers(noised, detail, fresh, passes) if variance_preserving else mix_bands(noised, detail, passes)
        if (mask := options.get("noise_mask")) is not None:
            start = mask * start + (1 - mask) * initial
    return samples


def half_mask() -> torch.Tensor:
    """A noise mask that keeps the left half of a latent."""
    mask = torch.ones(LENGTH, 1, 8, 8)
    mask[..., :4] = 0
    return mask


def hooked_prompts() -> dict:
    """A prompt with a LoRA that begins halfway."""
    return {"positive": set_hooks(start_hooks_at(0.5, make_lora_hooks()), prompt(2))}


PICTURE = 0.3 * noise(LENGTH, seed=9)
CASES = {
    "plain": {"iterations": 3},
    "variance preserving": {"iterations": 3, "variance_preserving": True},
    "early stop": {"variance_preserving": True, "part": 0.5, "steps": 3},
    "image to image": {"latent_image": PICTURE, "denoise": 0.5},
    "mask": {"latent_image": PICTURE, "noise_mask": half_mask()},
    "stochastic sampler": {"sampler": "dpmpp_sde"},
    "sampler with few sigmas": {"sampler": "uni_pc", "steps": 3},
    "ddim": {"sampler": "ddim"},
}


@pytest.mark.parametrize("case", CASES)
def test_every_iteration_is_that_of_the_papers(model, case):
    expected = sample_by_hand(model, **CASES[case])
    options = dict(CASES[case])
    inputs = {"early_stop": options.pop("part", 1.0)}
    inputs |= {name: options.pop(name) for name in ("iterations", "variance_preserving") if name in options}
    assert distance(run(free_init(model, **inputs), **options), expected) < EXACT


def test_context_windows_and_a_controlnet(model):
    windowed, control = apply_windows(model, length=3), apply_control(control_net(), random_pictures(LENGTH))
    expected = sample_by_hand(windowed, **control)
    assert distance(run(free_init(windowed), **control), expected) < EXACT


def test_a_scheduled_lora_begins_anew_in_every_iteration(model):
    expected = sample_by_hand(model, steps=3, **hooked_prompts())
    assert distance(run(free_init(model), steps=3, **hooked_prompts()), expected) < EXACT


@pytest.mark.parametrize("kind", ["FreeNoise", "same"])
def test_video_noise_before_or_after(model, kind):
    """Fresh noise has the same arrangement as that of the start; that is arranged once."""

    def noisy(model):
        inputs = {"context_length": 3, "context_overlap": 2} if kind == "FreeNoise" else {}
        return call(VideoNoise, model=model, noise_type={"noise_type": kind, **inputs})

    before, after = (run(each) for each in (free_init(noisy(model)), noisy(free_init(model))))
    assert torch.equal(before, after)
    assert distance(before, sample_by_hand(model, kind=kind)) < EXACT


def test_one_iteration_is_no_free_init(model):
    assert torch.equal(run(free_init(model, 1)), run(model))


def test_nothing_of_the_clip_before_passes_a_cutoff_of_0(model):
    """The last iteration is an ordinary one, from the last noise that was drawn."""
    generator = torch.Generator().manual_seed(SEED + FRESH_SEED)
    whites = [torch.randn(noise(LENGTH).shape, generator=generator) for _ in range(2)]
    expected = run(model, noise=whites[-1])
    assert torch.equal(run(free_init(model, spatial_cutoff=0.0)), expected)


def test_the_last_settings_count(model):
    assert torch.equal(run(free_init(free_init(model, 3), 1)), run(model))


def test_steps_of_iterations():
    sigmas = torch.tensor([14.0, 9.0, 5.0, 3.0, 2.0, 1.0, 0.0])

    def lengths(iterations: int = 3, **settings) -> list[int]:
        plan = plan_iterations(FreeInitSettings(iterations, **({"early_stop": 1.0} | settings)), sigmas)
        assert all(levels[0] == 14 for levels in plan) and torch.equal(plan[-1], sigmas)
        return [len(levels) - 1 for levels in plan]

    assert lengths() == [6, 6, 6]
    assert lengths(coarse_to_fine=True) == [2, 4, 6]
    assert lengths(4, coarse_to_fine=True) == [1, 3, 4, 6]
    assert lengths(early_stop=0.68) == [4, 4, 6]
    assert lengths(early_stop=0.0) == [1, 1, 6]
    assert choose_levels(sigmas, 2).tolist() == [14, 3, 0]
    assert choose_levels(sigmas, 0).tolist() == [14, 0]


def test_progress_counts_on_over_all_iterations(model):
    steps: list[tuple[int, int]] = []
    model = free_init(model, 3, coarse_to_fine=True, variance_preserving=True)
    run(model, steps=3, callback=lambda step, _, __, total: steps.append((step, total)))
    assert steps == [(step, 6) for step in range(6)]


def test_what_a_mask_keeps_has_the_same_noise_in_all_iterations(model):
    recorded, seen = record_unet(free_init(model, 2))
    sample(recorded, noise=noise(LENGTH), latent_image=PICTURE, noise_mask=half_mask(), cfg=1.0)
    first, second = seen.calls[0]["x"], seen.calls[STEPS]["x"]
    assert torch.equal(first[..., :4], second[..., :4]) and not torch.allclose(
        first[..., 4:], second[..., 4:], atol=0.1
    )


def test_cancelling_in_the_second_iteration_leaves_nothing(model):
    before = run(free_init(model))
    with pytest.raises(InterruptProcessingException):
        run(interrupt_during(free_init(model), evaluation=STEPS + 1))
    assert torch.equal(run(free_init(model)), before)


def test_the_first_half_of_a_split_sampler(model):
    """Its result has noise left, and differs from that of one iteration."""
    inputs = {"end_at_step": 1, "return_with_leftover_noise": "enable", "cfg": CFG}
    repeated, once = (ksampler_advanced(each, **inputs)["samples"] for each in (free_init(model), model))
    assert repeated.isfinite().all() and not torch.allclose(repeated, once, atol=1e-2)


def test_a_sampler_without_noise_is_refused(model):
    with expect_error(
        "The noise of the sampler is 0 everywhere, but FreeInit needs noise. Connect RandomNoise to it, or connect it "
        "to the model from before FreeInit."
    ):
        ksampler_advanced(free_init(model), add_noise="disable", start_at_step=1)


def test_sigmas_that_rise_are_refused(model):
    with expect_error(
        "The noise level of the sampler goes from 0 to 14.6, but FreeInit needs one that falls. Reverse its sigmas, or "
        "connect it to the model from before FreeInit."
    ):
        run(free_init(model), sigmas=sigmas_of(model, 2).flip(0))


def test_other_models_are_refused():
    clip = torch.zeros(2, 16, 8, 8)
    with expect_error(
        "FreeInit cannot add noise to a clip of this model, which samples by ModelSamplingDiscreteFlow, CONST. Remove "
        "FreeInit from this model, or use a checkpoint of Stable Diffusion."
    ):
        sample(free_init(tiny_dit()), noise=torch.ones_like(clip), latent_image=clip)
    with pytest.raises(LoomError, match=r"shape \[1, 4, 3, 8, 8\]"):
        sample(free_init(tiny_model()), noise=torch.ones(1, 4, 3, 8, 8))
