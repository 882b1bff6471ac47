"""FreeInit put on a MODEL, so that every sampler node of the host samples by it.

The node FreeInit calls `add_free_init`.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import EPS
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key
from tqdm.auto import tqdm

from ...motion_modules.errors import LoomError, require_finite
from ...motion_modules.run_state import FREE_INIT, add_wrapper_once, put_on_model, set_temporarily
from ..running_prompt import find_running_prompt
from .free_init import FreeInitSettings, add_noise_again, mix_noise, plan_iterations
from .initial import arrange_noise

FRESH_SEED = 0x5EEDF12E  # added to the run's seed, so that fresh noise differs from the noise that the run began with
FIRST_DRAW = -1  # noises of Video Noise are counted from 0 on in steps, and from here on between iterations
SAMPLE_SIGMAS = "sample_sigmas"  # the noise levels of a run, in the host's transformer_options
BEFORE = "connect it to the model from before FreeInit"

Callback = Callable[[int, Any, Any, int], None]


def add_free_init(model: ModelPatcher, settings: FreeInitSettings) -> ModelPatcher:
    """Return a clone of `model` that samples with these settings, instead of those of an earlier FreeInit."""
    require_finite(settings)
    require_finite(settings.filter)
    clone = model.clone()
    put_on_model(clone, FREE_INIT, settings)
    add_wrapper_once(clone, WrappersMP.OUTER_SAMPLE, FREE_INIT, check_and_prepare)
    return clone


def check_and_prepare(executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
    """Wrapper of the host's guider: refuse what FreeInit cannot repeat, and wrap the sampler of this run.

    The wrapper comes after those of all nodes: what they do to the noise is done once, wherever they
    are in the graph.
    """
    guider = executor.class_obj
    options = guider.model_options
    if options["transformer_options"][FREE_INIT].iterations > 1 and len(sigmas) > 1:
        _check(noise, sigmas, guider.model_patcher.get_model_object("model_sampling"))
        add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, FREE_INIT, sample_repeatedly, options, is_model_options=True)
    return executor(noise, latent_image, sampler, sigmas, *args, **kwargs)


def sample_repeatedly(
    executor, guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask=None, disable_pbar=False
):
    """Wrapper of the host's sampler: sample repeatedly, from new noise each time."""
    options, seed = extra_args["model_options"], extra_args["seed"] or 0
    settings: FreeInitSettings = options["transformer_options"][FREE_INIT]
    noise_scale = _find_noise_scale(guider, executor.class_obj, sigmas)
    generator = torch.Generator().manual_seed((seed + FRESH_SEED) % 2**63)

    numbers = itertools.count(FIRST_DRAW, -1)

    def draw() -> torch.Tensor:
        return arrange_noise(torch.randn(noise.shape, generator=generator), options, seed, next(numbers))

    schedules = plan_iterations(settings, sigmas)
    samples, start = noise, noise
    with count_steps([len(schedule) - 1 for schedule in schedules], callback, disable_pbar) as callbacks:
        for number, schedule in enumerate(schedules):
            if number:
                noised = add_noise_again(
                    (samples - latent_image).cpu(), noise.cpu(), schedules[number - 1], noise_scale
                )
                start = mix_noise(settings, noised, draw(), draw()).to(noise)
                if denoise_mask is not None:  # what the mask keeps has the same noise in all iterations
                    start = torch.lerp(noise, start, denoise_mask)
                _restart_hooks(guider)
            with set_temporarily(options, {SAMPLE_SIGMAS: schedule}):
                samples = executor(
                    guider, schedule, extra_args, callbacks[number], start, latent_image, denoise_mask, True
                )
    return samples


@contextmanager
def count_steps(lengths: list[int], callback: Callback | None, disable_bar: bool) -> Iterator[list[Callback]]:
    """Yield the host's `callback` for each iteration, which has a length in steps; all of them count on."""
    total = sum(lengths)
    with tqdm(total=total, disable=disable_bar) as bar:

        def report(first: int, step: int, denoised: Any, x: Any) -> None:
            bar.update(first + step + 1 - bar.n)
            if callback is not None:
                callback(first + step, denoised, x, total)

        yield [
            lambda step, denoised, x, _, first=first: report(first, step, denoised, x)
            for first in itertools.accumulate([0, *lengths[:-1]])
        ]


def _find_noise_scale(guider, sampler, sigmas: torch.Tensor) -> float:
    """Return the factor of noise in what `sampler` begins with."""
    one = torch.ones(1, device=sigmas.device)
    starts_at_most = sampler.max_denoise(guider, sigmas)
    return float(guider.inner_model.model_sampling.noise_scaling(sigmas[0], one, torch.zeros_like(one), starts_at_most))


def _restart_hooks(guider) -> None:
    """Let hooks of conds begin their schedule again, which the host only lets advance."""
    hooks = [cond["hooks"] for conds in guider.conds.values() for cond in conds if cond.get("hooks") is not None]
    for group in hooks:
        group.reset()
    if hooks:
        guider.model_patcher.clear_cached_hook_weights()


def _check(noise: torch.Tensor, sigmas: torch.Tensor, model_sampling) -> None:
    if noise.ndim != 4:
        raise LoomError(
            f"The latent has the shape {list(noise.shape)}, but FreeInit needs a batch of images [frames, channels, "
            "height, width]. Remove FreeInit from this model."
        )
    if not isinstance(model_sampling, EPS):
        kinds = ", ".join(base.__name__ for base in type(model_sampling).__bases__)
        raise LoomError(
            f"FreeInit cannot add noise to a clip of this model, which samples by {kinds}. Remove FreeInit from this "
            "model, or use a checkpoint of Stable Diffusion."
        )
    if sigmas[0] <= sigmas[-1]:
        raise LoomError(
            f"The noise level of {_name_sampler()} goes from {float(sigmas[0]):.3g} to {float(sigmas[-1]):.3g}, but "
            f"FreeInit needs one that falls. Reverse its sigmas, or {BEFORE}."
        )
    if not noise.count_nonzero():
        raise LoomError(
            f"The noise of {_name_sampler()} is 0 everywhere, but FreeInit needs noise. {_advise_noise()}, or {BEFORE}."
        )


def _name_sampler() -> str:
    prompt = find_running_prompt()
    return "the sampler" if prompt is None else prompt.name(prompt.node_id)


def _advise_noise() -> str:
    prompt = find_running_prompt()
    if prompt is not None and "add_noise" in prompt.inputs:
        return "Set its `add_noise` to enable"
    return "Connect RandomNoise to it"
