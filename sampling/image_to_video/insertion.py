"""Settings with which the picture of AnimateLCM-I2V is inserted into the UNet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...motion_modules.adapters.lcm_i2v import DEFAULT_DRIFT, LEVELS
from ...motion_modules.errors import LoomError, require_finite
from ..steering.curves import parse_value, split_entries

DRIFT_INPUT, WEIGHTS_INPUT, DEFAULT_WEIGHTS = "reference_drift", "insertion_weights", "1"


@dataclass(frozen=True)
class Insertion:
    """Drift of the frames from the picture, and the weight of its features in each of the four down blocks."""

    reference_drift: float
    insertion_weights: tuple[float, ...]


def read_insertion(choice: Mapping[str, Any]) -> Insertion:
    """Return the settings among the inputs of the method; raise LoomError where they are no numbers."""
    weights = read_weights(choice.get(WEIGHTS_INPUT, DEFAULT_WEIGHTS))
    settings = Insertion(choice.get(DRIFT_INPUT, DEFAULT_DRIFT), weights)
    require_finite(settings)
    return settings


def read_weights(text: str) -> tuple[float, ...]:
    """Return the four weights in `text`, which lists them or has one for all."""
    weights = [parse_value(entry, place) for entry, place in split_entries(text, WEIGHTS_INPUT)]
    if len(weights) not in (1, LEVELS):
        raise LoomError(
            f"`{WEIGHTS_INPUT}` has {len(weights)} numbers. Write one for all down blocks or {LEVELS}, such as "
            "`1, 1, 0.5, 0.5`."
        )
    return tuple(weights * (LEVELS // len(weights)))
