"""What every stage of the training shares: schedule, averaged weights, checkpoints to resume from, progress bar."""

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """How long a stage is trained, and how fast, on pictures of `size` pixels; `architecture` is of the motion modules.

    `average` is the decay of the averaged (EMA) weights, which are the ones that are kept.
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
    bf16: bool = False
    architecture: str = "temporal_transformer"

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to a hundredth."""
        progress = min(step / self.steps, 1.0)
        return self.rate * min(1.0, (step + 1) / self.warm_up) * (0.505 + 0.495 * math.cos(math.pi * progress))

    def average_at(self, step: int) -> float:
        return min(self.average, (step + 1) / (step + 10))


class Trainer:
    """Trains the parameters of `module` that need gradients; its state lives in one file."""

    def __init__(self, module: nn.Module, plan: Plan, file: Path):
        self.plan, self.file, self.step = plan, file, 0
        self.weights = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self.averages = {name: value.detach().clone() for name, value in self.weights.items()}
        values = list(self.weights.values())
        self.optimiser = torch.optim.AdamW(values, lr=plan.rate, weight_decay=plan.weight_decay, fused=True)
        if file.exists():
            self._resume()

    def train(self, loss: Callable[[random.Random], torch.Tensor], report: Callable[[Tensors], str]) -> None:
        """Every step draws from a generator of its own number, so that a resumed run sees what it would have seen."""
        recent, bar = 0.0, tqdm(total=self.plan.steps, initial=self.step, desc=self.file.stem, mininterval=10)
        started, first = time.monotonic(), self.step
        while self.step < self.plan.steps:
            torch.manual_seed(self.plan.seed + self.step)
            with torch.autocast(torch.get_default_device().type, torch.bfloat16, enabled=self.plan.bf16):
                error = loss(random.Random(self.plan.seed + self.step))
            value = self._advance(error)
            recent = value if not recent else 0.98 * recent + 0.02 * value
            bar.update()
            bar.set_postfix(loss=f"{recent:.4f}", refresh=False)
            if self.step % self.plan.save_every == 0 or self.step == self.plan.steps:
                self.save()
            if self.step % self.plan.report_every == 0 or self.step == self.plan.steps:
                seconds = (time.monotonic() - started) / (self.step - first)
                print(f"\nstep {self.step}, loss {recent:.4f}, {seconds:.2f} s a step", end=": ", flush=True)
                print(report(self.averages), flush=True)
        bar.close()

    def _advance(self, loss: torch.Tensor) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate_at(self.step)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(list(self.weights.values()), 1.0)
        self.optimiser.step()
        decay = self.plan.average_at(self.step)
        for name, average in self.averages.items():
            average.lerp_(self.weights[name].detach(), 1 - decay)
        self.step += 1
        return float(loss.detach())

    def save(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        state = {"step": self.step, "optimiser": self.optimiser.state_dict(), "averages": self.averages}
        unfinished = self.file.with_suffix(".unfinished")
        torch.save(state | {"weights": {name: value.detach() for name, value in self.weights.items()}}, unfinished)
        unfinished.replace(self.file)

    def _resume(self) -> None:
        state = torch.load(self.file, map_location=torch.get_default_device(), weights_only=True)
        self.step = state["step"]
        self.optimiser.load_state_dict(state["optimiser"])
        copy_into(self.weights, state["weights"])
        copy_into(self.averages, state["averages"])


def averages_of(file: Path) -> Tensors:
    """The averaged weights that a stage has reached."""
    return torch.load(file, map_location=torch.get_default_device(), weights_only=True)["averages"]


@torch.no_grad()
def copy_into(target: Mapping[str, torch.Tensor], source: Mapping[str, torch.Tensor]) -> None:
    for name, value in target.items():
        value.copy_(source[name])


@torch.no_grad()
def initialise(module: nn.Module, zero: tuple[str, ...] = ()) -> None:
    """PyTorch's usual starting weights, which the host's layers leave out; layers whose name ends so start at zero."""
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
