"""First NaN or Inf of a run: where it appeared, and what to do about it."""

import math
from dataclasses import dataclass

import torch

from ...motion_modules.watching.observer import LARGEST_IN, LARGEST_OUT, Reading

ADVICE = "Check the checkpoint, its LoRAs, the conditioning and the precision (fp16 overflows)."


@dataclass(frozen=True)
class BadValue:
    """First NaN or Inf of a run.

    `made_here` is True if the motion module at `site` produced it, and False if it came with its
    input. Without a `site` it is in the prediction of the model, after the last motion module.
    """

    kind: str
    motion: str
    site: str
    step: int
    frame: int
    made_here: bool

    def describe(self) -> str:
        """Return two sentences: where the value appeared, and what to do."""
        value, place = f"first {self.kind}", f"in step {self.step} at frame {self.frame}"
        if not self.site:
            return f"The {value}, {place}, appeared in the model's prediction, after the last motion module. {ADVICE}"
        module = f"motion module '{self.site}' of '{self.motion}'"
        if self.made_here:
            return (
                f"The {module} produced the {value}, {place}. "
                "Lower `strength` of Apply Motion Model, run ComfyUI in fp32 or bf16, or use another motion model file."
            )
        return f"The {module} received the {value}, {place}, from earlier layers of the model. {ADVICE}"


def find_bad_value(reading: Reading, motion: str, step: int) -> BadValue | None:
    """Return the first NaN or Inf in the input of a motion module, else in its output, else None."""
    if reading.numbers[[LARGEST_IN, LARGEST_OUT]].isfinite().all():
        return None
    for row, made_here in ((LARGEST_IN, False), (LARGEST_OUT, True)):
        positions = (~reading.numbers[row].isfinite()).nonzero()
        if len(positions):
            position = int(positions[0])
            kind = "NaN" if math.isnan(float(reading.numbers[row, position])) else "Inf"
            return BadValue(kind, motion, reading.site, step, reading.frames[position], made_here)
    return None


def find_bad_prediction(predicted: torch.Tensor, step: int) -> BadValue | None:
    """Return the first NaN or Inf in the predicted frames, else None."""
    sums = predicted.flatten(1).sum(dim=1).cpu() if predicted.ndim > 1 else predicted[None].cpu()
    positions = (~sums.isfinite()).nonzero()
    if not len(positions):
        return None
    frame = int(positions[0])
    kind = "NaN" if predicted[frame].isnan().any() else "Inf"
    return BadValue(kind, "", "", step, frame, made_here=False)
