"""A motion model put on a MODEL: checked, placed in the UNet, and sampled with its own beta schedule.

The node Apply Motion Model calls `animate`.
"""

from comfy.model_patcher import ModelPatcher

from ..motion_modules.architectures.stacking import list_members
from ..motion_modules.architectures.trial import shows_attention
from ..motion_modules.beta_schedules import BETA_SCHEDULES
from ..motion_modules.errors import LoomError, require_finite
from ..motion_modules.families import AUTO
from ..motion_modules.motion_model import MotionModel
from ..motion_modules.noise_schedule import require_range
from ..motion_modules.unet.applied import MotionSettings
from ..motion_modules.unet.placement import place
from ..motion_modules.unet.sites import require_fit
from .model_sampling import set_beta_schedule
from .preflight import register_checks

AS_THE_MODEL = "as the model"
BETA_SCHEDULE_CHOICES = (AUTO, *BETA_SCHEDULES, AS_THE_MODEL)


def animate(
    model: ModelPatcher, motion_model: MotionModel, settings: MotionSettings, beta_schedule: str = AUTO
) -> ModelPatcher:
    """Return a clone of `model` that denoises a batch of frame latents into one moving clip.

    With strength 0 nothing is placed, so that the result is exactly that of `model`, but a motion
    model that does not fit is still refused.
    """
    _check_settings(motion_model, settings)
    acts = _has_strength(motion_model, settings)
    if beta_schedule == AUTO:
        beta_schedule = motion_model.family.beta_schedule if acts else AS_THE_MODEL
    if acts:
        model = place(model, motion_model, settings)
        register_checks(model)
    else:
        require_fit(model, motion_model)
    if beta_schedule == AS_THE_MODEL:
        return model.clone()
    if beta_schedule not in BETA_SCHEDULES:
        raise LoomError(
            f"`beta_schedule` is '{beta_schedule}', which this version does not know. Choose one of "
            f"{', '.join(BETA_SCHEDULE_CHOICES)} on Apply Motion Model."
        )
    return set_beta_schedule(model, BETA_SCHEDULES[beta_schedule])


def _has_strength(motion_model: MotionModel, settings: MotionSettings) -> bool:
    """Return whether the strength is above 0 at any site, as far as it does not depend on the clip and on sampling."""
    variation = settings.motion_strength
    if variation is None or not settings.strength:
        return bool(settings.strength)
    sites = variation.scale_sites(motion_model.specs, f"motion model '{motion_model.name}'")
    return not variation.is_zero and any(sites.values())


def _check_settings(motion_model: MotionModel, settings: MotionSettings) -> None:
    require_finite(settings)
    require_range(settings.start_percent, settings.end_percent)
    if settings.attention_scale != 1 and not motion_model.attends:
        raise LoomError(
            f"`attention_scale` is {settings.attention_scale}, but motion model '{motion_model.name}' has no attention "
            "between frames. Set `attention_scale` to 1."
        )
    if settings.motion_attention_scale is not None and not motion_model.attends:
        raise LoomError(
            f"`motion_attention_scale` is connected, but motion model '{motion_model.name}' has no attention between "
            "frames. Disconnect it, or connect it to `motion_strength`."
        )
    if settings.motion_attention_scale is not None and settings.motion_attention_scale.differs_by_token:
        _require_shown_attention(motion_model)
    if motion_model.broken_weight:
        raise LoomError(
            f"Motion model '{motion_model.name}' has a NaN or Inf in '{motion_model.broken_weight}'. Download it again."
        )


def _require_shown_attention(motion_model: MotionModel) -> None:
    """Refuse modules of other packs whose attention has one scale for all frames and places."""
    kinds = {kind for spec in motion_model.specs.values() for kind in list_members(spec.architecture)}
    for kind in sorted(kinds, key=lambda kind: kind.key):
        if kind.attends and not shows_attention(kind):
            raise LoomError(
                f"`motion_attention_scale` differs between frames or places, but the motion module '{kind.key}' of "
                f"'{kind.origin}' in motion model '{motion_model.name}' does its attention itself, with one scale for "
                "all. Use `attention_scale`, or connect it to `motion_strength`."
            )
