"""Motion amplifier: more motion from the attention between frames, early in sampling.

Bu et al. 2025, "ByTheWay", multiply the fast part of an attention map A along its keys by beta.
Where the fast part is all but the mean, the output of F frames becomes
beta * A V + (1 - beta) * mean over frames of V. A acts on V from the left and this division on A
from the right, so values whose fast part is multiplied give the same, and no map is computed. The
node Motion Amplifier calls `add_motion_amplifier`.
"""

from dataclasses import dataclass

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...motion_modules.attention_tap import QKV, AttentionCall
from ...motion_modules.errors import LoomError, require_finite
from ...motion_modules.run_state import AMPLIFIER, APPLIED, ATTENTION_TAPS, add_wrapper_once, put_on_model
from ...motion_modules.unet.applied import AppliedMotion, require_motion
from ...motion_modules.unet.site_patterns import sites_like
from ..steps import step_number

AUTO = "auto"
UPPER_LEVELS = 3


@dataclass(frozen=True)
class AmplifierSettings:
    """Factor of the fast part of attention, the sites where it acts, and the part of the steps, from the first on.

    Sites are patterns, or AUTO: the last three levels of the way up, the upper blocks of the paper.
    `slowest` is the lowest frequency that is amplified, relative to the highest one; with 0, all but
    the mean is.
    """

    beta: float = 1.5
    sites: str = AUTO
    end: float = 0.2
    slowest: float = 0.0

    def acts_at(self, sigma: float, sample_sigmas: torch.Tensor) -> bool:
        """Return whether the step at `sigma` is one of the first."""
        return step_number(sigma, sample_sigmas) < self.end * (len(sample_sigmas) - 1)


@dataclass(frozen=True)
class Amplifier:
    """A tap on attention that amplifies at `sites`, by their names in motion model files."""

    settings: AmplifierSettings
    sites: frozenset[str]

    def __call__(self, call: AttentionCall, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> QKV | None:
        if call.site not in self.sites:
            return None
        clips = v.unflatten(1, (call.frames, -1))  # attention over space as well has several tokens for each frame
        return q, k, amplify_fast_part(clips, self.settings.beta, self.settings.slowest).flatten(1, 2)


def amplify_fast_part(values: torch.Tensor, beta: float, slowest: float = 0.0) -> torch.Tensor:
    """Return `values`, `[clips, frames, ...]`, with their fast part along frames times `beta`."""
    mean = values.mean(1, keepdim=True)
    if slowest <= 0:
        return torch.lerp(mean, values, beta)
    frames = values.shape[1]
    number = torch.arange(frames // 2 + 1, device=values.device)
    fast = (number > 0) & (2 * number >= slowest * frames - 1e-4)
    gains = torch.where(fast, beta, 1.0).view(1, -1, *[1] * (values.ndim - 2))
    return torch.fft.irfft(torch.fft.rfft(values.float(), dim=1) * gains, n=frames, dim=1).to(values)


def add_motion_amplifier(model: ModelPatcher, settings: AmplifierSettings) -> ModelPatcher:
    """Return a clone of `model` whose motion modules amplify motion; with beta 1, an unchanged clone."""
    require_finite(settings)
    clone = model.clone()
    if settings.beta != 1 and settings.end > 0:
        amplifiers = clone.model_options["transformer_options"].get(AMPLIFIER, ())
        put_on_model(clone, AMPLIFIER, (*amplifiers, settings))
        add_wrapper_once(clone, WrappersMP.OUTER_SAMPLE, AMPLIFIER, check_sites)
        add_wrapper_once(clone, WrappersMP.APPLY_MODEL, AMPLIFIER, evaluate_amplified)
    return clone


def check_sites(executor, *args, **kwargs):
    """Wrapper of the host's guider: refuse sites where no motion module with attention runs."""
    options = executor.class_obj.model_options
    motions = require_motion(options, "Motion Amplifier")
    for settings in options["transformer_options"][AMPLIFIER]:
        if not select_sites(settings.sites, motions):
            raise LoomError(
                f"Motion Amplifier amplifies attention, but motion model '{motions[0].name}' has none on the way up. "
                "Set `sites` to others, or remove Motion Amplifier."
            )
    return executor(*args, **kwargs)


def evaluate_amplified(
    executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs
):
    """Put the amplifiers that act in this step among the attention taps. Wraps the host's `apply_model`."""
    options = transformer_options or {}
    motions = options.get(APPLIED, ())
    if motions:
        sigma, sample_sigmas = float(t.max()), options["sample_sigmas"]
        acting = [each for each in options[AMPLIFIER] if each.acts_at(sigma, sample_sigmas)]
        taps = [Amplifier(each, select_sites(each.sites, motions)) for each in acting]
        options = {**options, ATTENTION_TAPS: (*options.get(ATTENTION_TAPS, ()), *taps)}
    return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)


def select_sites(patterns: str, motions: tuple[AppliedMotion, ...]) -> frozenset[str]:
    """Return the sites with attention that `patterns` name, of all motion models on a model."""
    sites = {name for motion in motions for name in motion.sites if motion.specs[name].architecture.attends}
    if patterns.strip() == AUTO:
        levels = sorted({name.split(".")[1] for name in sites if name.startswith("up_blocks.")})[-UPPER_LEVELS:]
        return frozenset(name for name in sites if name.startswith("up_blocks.") and name.split(".")[1] in levels)
    names = " and ".join(f"'{motion.name}'" for motion in motions)
    return frozenset(sites_like(patterns, sorted(sites), f"motion model {names}"))
