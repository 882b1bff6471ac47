"""The training loop: steps of the optimiser, learning rate, averaged weights, and the state to resume a run from."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..motion_modules.errors import LoomError, require_finite

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LAST_RATE = 0.01  # of the learning rate, at the end of the cosine

ClipError = Callable[[torch.Generator], torch.Tensor]


@dataclass(frozen=True)
class TrainingPlan:
    """Length and settings of a training run.

    A step takes the mean gradient of `clips_per_step` clips, one after another, and clips its norm
    at `largest_gradient`. The learning rate rises for `warm_up` steps and then follows half a
    cosine. With `average` above 0, the result is the moving average of the weights with that decay.
    """

    steps: int = 300
    learning_rate: float = 5e-4
    clips_per_step: int = 1
    warm_up: int = 10
    weight_decay: float = 0.01
    average: float = 0.0
    largest_gradient: float = 1.0
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self):
        require_finite(self)
        if min(self.steps, self.clips_per_step) < 1 or self.learning_rate <= 0 or not 0 <= self.average < 1:
            values = ", ".join(f"`{field.name}` {getattr(self, field.name)}" for field in fields(self)[:6])
            raise LoomError(
                f"The settings are {values}. Use at least 1 step and 1 clip per step, a learning rate above 0, and an "
                "`average` of 0 or more and below 1."
            )


class Trainer:
    """Trains the parameters of `module`, whose gradients `clip_error` gives: the loss of a clip that it draws."""

    def __init__(self, module: nn.Module, plan: TrainingPlan, clip_error: ClipError, device: torch.device):
        self.module, self.plan, self.clip_error, self.device = module, plan, clip_error, device
        self.weights = [weight for weight in module.parameters() if weight.requires_grad]
        self.optimiser = AdamW(self.weights, lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True)
        self.rate = schedule_rate(self.optimiser, plan)
        self.scaler = GradScaler(device.type, enabled=plan.precision == "fp16")
        averaging = get_ema_multi_avg_fn(plan.average)
        self.averaged = AveragedModel(module, multi_avg_fn=averaging) if plan.average else None
        self.generator = torch.Generator().manual_seed(plan.seed)
        self.losses: list[float] = []

    @property
    def result(self) -> nn.Module:
        """Return the module with the weights to keep."""
        return self.averaged.module if self.averaged and self.losses else self.module

    def steps(self) -> Iterator[float]:
        """Train to the end of the plan; yield the loss of each step, after which the state can be saved."""
        while len(self.losses) < self.plan.steps:
            yield self.advance()

    def advance(self) -> float:
        """Do one step and return its loss. A step that fails or is cancelled leaves the state as it was before."""
        before = self.generator.get_state()
        self.optimiser.zero_grad(set_to_none=True)
        try:
            loss = sum(self._backward() for _ in range(self.plan.clips_per_step))
            self._require_finite(loss)
        except BaseException:
            self.generator.set_state(before)
            raise
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.rate.step()
        if self.averaged:
            self.averaged.update_parameters(self.module)
        self.losses.append(loss)
        return loss

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on: weights, optimiser, learning rate, averages, random numbers."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return parts | {"generator": self.generator.get_state(), "losses": list(self.losses)}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        self.losses = list(state["losses"])

    def _parts(self) -> dict[str, Any]:
        parts = {"module": self.module, "optimiser": self.optimiser, "rate": self.rate, "scaler": self.scaler}
        return parts | ({"averaged": self.averaged} if self.averaged else {})

    def _backward(self) -> float:
        """Return the share of one clip in the loss of this step; its gradients are then in the weights."""
        precision = PRECISIONS[self.plan.precision]
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            error = self.clip_error(self.generator) / self.plan.clips_per_step
        self.scaler.scale(error).backward()
        return float(error.detach())

    def _require_finite(self, loss: float) -> None:
        """Clip the gradients; raise LoomError where they or the loss are NaN or infinite."""
        self.scaler.unscale_(self.optimiser)
        norm = float(nn.utils.clip_grad_norm_(self.weights, self.plan.largest_gradient))
        if not math.isfinite(loss) or not (math.isfinite(norm) or self.scaler.is_enabled()):  # it skips such steps
            raise LoomError(
                f"The loss of step {len(self.losses) + 1} is {loss:.4g} and its gradient {norm:.4g}. Lower "
                f"`learning_rate`, which is {self.plan.learning_rate:g}, or set `precision` to bf16 or float32."
            )


def schedule_rate(optimiser: torch.optim.Optimizer, plan: TrainingPlan) -> SequentialLR:
    """Return torch's schedule of a linear warm-up and half a cosine, down to a hundredth of the learning rate."""
    warm_up = min(plan.warm_up, plan.steps - 1)
    cosine = CosineAnnealingLR(optimiser, max(1, plan.steps - warm_up), eta_min=LAST_RATE * plan.learning_rate)
    rise = LinearLR(optimiser, 1 / (warm_up + 1), total_iters=warm_up)
    return SequentialLR(optimiser, [rise, cosine], milestones=[warm_up])
