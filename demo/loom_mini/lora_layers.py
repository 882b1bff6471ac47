"""Low-rank changes of the linear layers of a motion model: a motion LoRA while it is trained or evaluated."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from host.loom_mini import FOLDER
from torch import nn

from .motion_stage import VideoModel, copy_trained_weights, video_model
from .start_weights import read_file
from .trainer import Plan, copy_into, load_averages

SHIPPED = FOLDER / "motion_loras"
RANK = 4
SITES = "up_blocks."  # they decide the motion; the way down then needs no gradients
LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2", "proj_in", "proj_out")


@dataclass
class Strength:
    """Strength of the LoRA for each clip of the batch, or for all of them; 0 turns it off."""

    value: torch.Tensor


class LowRank(nn.Module):
    """Adds strength * up(down(x)) to the output of one linear layer (Hu et al. 2021, equation 3); `up` starts at 0."""

    def __init__(self, layer: nn.Linear, strength: Strength):
        super().__init__()
        self.down = nn.Linear(layer.in_features, RANK, bias=False)
        self.up = nn.Linear(RANK, layer.out_features, bias=False)
        self.strength = strength
        nn.init.normal_(self.down.weight, std=1 / math.sqrt(layer.in_features))
        nn.init.zeros_(self.up.weight)
        layer.register_forward_hook(self.add)

    def add(self, _layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        """Return the changed output; rows of tokens are those of the clips of the batch, one clip after the other."""
        (tokens,) = inputs
        strengths = self.strength.value.repeat_interleave(len(tokens) // len(self.strength.value))
        return output + strengths[:, None, None] * self.up(self.down(tokens))


class MotionLora(nn.Module):
    """The low-rank layers of all motion modules of a model; `strength.value` sets their strength."""

    def __init__(self, motion: nn.Module):
        super().__init__()
        self.strength = Strength(torch.zeros(1))
        linear = {name: layer for name, layer in motion.named_modules() if isinstance(layer, nn.Linear)}
        chosen = {name: layer for name, layer in linear.items() if name.startswith(SITES) and name.endswith(LAYERS)}
        self.names = list(chosen)
        self.layers = nn.ModuleList(LowRank(layer, self.strength) for layer in chosen.values())

    def file_parameters(self) -> dict[str, nn.Parameter]:
        """Return the weights by their names in a motion LoRA file."""
        return {
            f"{name}.lora_{part}.weight": getattr(layer, part).weight
            for name, layer in zip(self.names, self.layers, strict=True)
            for part in ("down", "up")
        }


def lora_model(folder: Path, plan: Plan) -> tuple[VideoModel, MotionLora]:
    """Return the frozen video model with a fresh LoRA on it, which changes nothing yet."""
    model = video_model(folder, plan).requires_grad_(False)
    copy_trained_weights(model.motion, folder, plan)
    return model, MotionLora(model.motion)


def copy_lora_weights(lora: MotionLora, folder: Path, plan: Plan) -> None:
    """Copy the averaged weights of the checkpoint in `folder`, or those of the shipped file, into `lora`."""
    file = checkpoint_file(folder, plan)
    if file.exists():
        copy_into(dict(lora.named_parameters()), load_averages(file))
    else:
        copy_into(lora.file_parameters(), read_file(SHIPPED / exported_name(plan)))


def checkpoint_file(folder: Path, plan: Plan) -> Path:
    return folder / f"lora_{plan.lora}.pt"


def exported_name(plan: Plan) -> str:
    """Return the name of the file that Motion LoRA loads."""
    return f"loom_mini_{plan.lora}.safetensors"
