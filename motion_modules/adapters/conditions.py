"""The conditions of adapters, which nodes put on a MODEL."""

from collections.abc import Mapping
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher

from ..errors import LoomError
from ..run_state import CONDITIONS, put_on_model
from .adapter import Adapter, AdapterCondition


def put_condition(model: ModelPatcher, key: str, condition: AdapterCondition) -> None:
    """Put the `condition` of the adapter `key` on `model`, which should be a clone, in place of an earlier one."""
    conditions = model.model_options["transformer_options"].get(CONDITIONS, {})
    put_on_model(model, CONDITIONS, {**conditions, key: condition})


def require_condition(options: Mapping[str, Any], adapter: Adapter, motion_model: str) -> AdapterCondition:
    """Return the condition of `adapter`; `options` are the host's `transformer_options`.

    Raise LoomError where there is none.
    """
    condition = options.get(CONDITIONS, {}).get(adapter.key)
    if condition is None:
        before_apply = "Load Motion Model and Apply Motion Model"
        place = before_apply if adapter.has_own_files else "Apply Motion Model and the sampler"
        raise LoomError(
            f"Motion model '{motion_model}' ({adapter.name}) needs {adapter.needs}, but none is connected. "
            f"Place {adapter.node} between {place}, or choose another motion model."
        )
    return condition


def require_picture_size(latents: torch.Tensor, subject: str, height: int, width: int) -> None:
    """Raise LoomError unless latents of pictures have this size; `subject` names them, with its verb."""
    picture_height, picture_width = latents.shape[-2:]
    if (picture_height, picture_width) != (height, width):
        raise LoomError(
            f"The latent is {width} x {height}, but {subject} {picture_width} x {picture_height} in latent pixels. "
            "Sample the latent of Image To Video, or give it the same `width` and `height`."
        )
