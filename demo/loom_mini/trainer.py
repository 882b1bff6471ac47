"""Training loop of every stage: schedule, averaged weights, checkpoints to resume from, progress bar."""

import math
import random
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from host.in_process import pack
from torch import nn
from torch.amp.grad_scaler import GradScaler
from tqdm import tqdm

from .anomalies import TrainingStopped, named_anomalies

Tensors = dict[str, torch.Tensor]
Loss = Callable[[random.Random], torch.Tensor]

RECORDED_FIRST, RECORD_EVERY = 10, 10  # steps
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Plan:
    """Length and learning rate of a stage, on pictures of `size` pixels; `architecture` is that of the motion modules.

    `average` is the decay of the averaged (EMA) weights, which are exported. `precision` sets
    autocast to one of PRECISIONS; weights are float32. `checkpointing` saves memory in motion
    modules. `restart` ignores the checkpoint of the stage.
    """

    steps: int
    batch: int
    rate: float
    warm_up: int = 100
    weight_decay: float = 0.01
    average: float = 0.998
    seed: int = 20230704
    size: int = 64
    report_every: int = 500
    save_every: int = 100
    precision: str = "float32"
    checkpointing: bool = False
    detect_anomaly: bool = False
    architecture: str = "temporal_transformer"
    lora: str = ""
    restart: bool = False

    def rate_at(self, step: int) -> float:
        """Return the learning rate: linear warm-up, then half a cosine down to a hundredth."""
        progress = min(step / self.steps, 1.0)
        return self.rate * min(1.0, (step + 1) / self.warm_up) * (0.505 + 0.495 * math.cos(math.pi * progress))

    def reports_at(self, step: int) -> bool:
        return step % self.report_every == 0 or step == self.steps

    def saves_at(self, step: int) -> bool:
        return step % self.save_every == 0 or step == self.steps

    def average_at(self, step: int) -> float:
        return min(self.average, (step + 1) / (step + 10))


class Trainer:
    """Trains the parameters of `module` that need gradients, and keeps its state in one file."""

    def __init__(self, module: nn.Module, plan: Plan, file: Path):
        self.module, self.plan, self.file, self.step = module, plan, file, 0
        self.weights = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self.averages = {name: value.detach().clone() for name, value in self.weights.items()}
        values = list(self.weights.values())
        self.optimiser = torch.optim.AdamW(values, lr=plan.rate, weight_decay=plan.weight_decay, fused=True)
        self.device = torch.get_default_device().type
        self.scaler = GradScaler(self.device, enabled=plan.precision == "fp16")
        self.history = pack("training.gradient_expectations").GradientHistory()
        self.gradients = ""
        if file.exists() and not plan.restart:
            self._resume()

    def train(self, loss: Loss, report: Callable[[Tensors], str]) -> None:
        """Train until the plan ends; every step seeds its own generator, so that a resumed run repeats the same draws.

        Raise TrainingStopped if a loss or gradient is not finite, and leave the checkpoint unchanged.
        """
        recent, started, first = 0.0, time.monotonic(), self.step
        with tqdm(total=self.plan.steps, initial=self.step, desc=self.file.stem, mininterval=10) as bar:
            while self.step < self.plan.steps:
                value = self._advance(loss)
                recent = value if not recent else 0.98 * recent + 0.02 * value
                bar.update()
                bar.set_postfix(loss=f"{recent:.4f}", refresh=False)
                if self.plan.saves_at(self.step):
                    self.save()
                if self.plan.reports_at(self.step):
                    seconds = (time.monotonic() - started) / (self.step - first)
                    print(f"\nstep {self.step}, loss {recent:.4f}, {seconds:.2f} s a step", end=": ", flush=True)
                    print(report(self.averages), self.gradients, sep="\n", flush=True)

    def _advance(self, loss: Loss) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate_at(self.step)
        value = self._backward(loss)
        self.scaler.unscale_(self.optimiser)
        self._look_at_gradients()
        norm = float(nn.utils.clip_grad_norm_(list(self.weights.values()), 1.0))
        if not math.isfinite(norm) and self.scaler.get_scale() <= 1:  # above, the scaler leaves the step out
            raise self._build_error(f"gradients of step {self.step + 1} have the norm {norm}")
        self.scaler.step(self.optimiser)
        self.scaler.update()
        decay = self.plan.average_at(self.step)
        for name, average in self.averages.items():
            average.lerp_(self.weights[name].detach(), 1 - decay)
        self.step += 1
        return value

    def _look_at_gradients(self) -> None:
        """Keep the report of a step that prints one, and the size of the gradients of every tenth step."""
        if self.plan.reports_at(self.step + 1):
            report = pack("training.gradient_report").gradient_report(self.module, history=self.history)
            self.gradients = report.text()
        if self.step < RECORDED_FIRST or self.step % RECORD_EVERY == 0:
            self.history.record(self.module)

    def _backward(self, loss: Loss) -> float:
        """Return the loss; its gradients are then in the weights, times the scale of the scaler."""
        torch.manual_seed(self.plan.seed + self.step)
        self.optimiser.zero_grad(set_to_none=True)
        precision, number = PRECISIONS[self.plan.precision], self.step + 1
        with named_anomalies(self.module, number) if self.plan.detect_anomaly else nullcontext():
            with torch.autocast(self.device, precision, enabled=precision != torch.float32):
                error = loss(random.Random(self.plan.seed + self.step))
            value = float(error.detach())
            if not math.isfinite(value):
                raise self._build_error(f"loss of step {number} is {value}")
            self.scaler.scale(error).backward()
        return value

    def _build_error(self, what: str) -> TrainingStopped:
        if self.plan.detect_anomaly:
            return TrainingStopped(
                f"The {what}, although no layer returned a NaN or Inf. Lower --rate, or check the data and the "
                "calculation of the loss."
            )
        return TrainingStopped(
            f"The {what}; training stopped and left the checkpoint unchanged. Run the same command with "
            "--detect-anomaly to continue from there and find the origin of the first NaN."
        )

    def save(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        state = {"step": self.step, "optimiser": self.optimiser.state_dict(), "averages": self.averages}
        state["scaler"] = self.scaler.state_dict()
        unfinished = self.file.with_suffix(".unfinished")
        torch.save(state | {"weights": {name: value.detach() for name, value in self.weights.items()}}, unfinished)
        unfinished.replace(self.file)

    def _resume(self) -> None:
        state = torch.load(self.file, map_location=torch.get_default_device(), weights_only=True)
        shapes, saved = ({name: t.shape for name, t in each.items()} for each in (self.weights, state["weights"]))
        if shapes != saved:
            raise TrainingStopped(
                f"{self.file} was trained with weights of other names or shapes than the code has now. Add --restart "
                "to train from the start."
            )
        self.step = state["step"]
        self.optimiser.load_state_dict(state["optimiser"])
        if state.get("scaler"):  # in fp16 only
            self.scaler.load_state_dict(state["scaler"])
        copy_into(self.weights, state["weights"])
        copy_into(self.averages, state["averages"])


def load_averages(file: Path) -> Tensors:
    """Load the averaged weights of a stage."""
    return torch.load(file, map_location=torch.get_default_device(), weights_only=True)["averages"]


@torch.no_grad()
def copy_into(target: Mapping[str, torch.Tensor], source: Mapping[str, torch.Tensor]) -> None:
    for name, value in target.items():
        value.copy_(source[name])


@torch.no_grad()
def initialise(module: nn.Module, zero: tuple[str, ...] = ()) -> None:
    """Initialise weights as PyTorch does; layers whose name ends in one of `zero` start at zero."""
    for name, layer in module.named_modules():
        weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
        if not isinstance(weight, torch.Tensor):
            continue
        if weight.ndim == 1:
            nn.init.ones_(weight)
        elif isinstance(layer, nn.Embedding):
            nn.init.normal_(weight, std=0.02)
        elif name.endswith(zero):
            nn.init.zeros_(weight)
        else:
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        if isinstance(bias, torch.Tensor):
            nn.init.zeros_(bias)
