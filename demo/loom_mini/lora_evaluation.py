"""Evaluation of motion LoRAs: clips of shapes and colours that their training never saw, at several strengths."""

import statistics
from pathlib import Path

import torch

from .captions import WORDS, name_object
from .grids import save_grid
from .lora_layers import MotionLora, copy_lora_weights, lora_model
from .measures import read_clip
from .motion_paths import read_strength, shapes_and_colours
from .motion_stage import VideoModel, film_captions
from .scores import share
from .trainer import Plan
from .world import FRAMES, Scene

STRENGTHS = (1.0, 0.5, 0.0, -1.0)


def held_out_captions() -> list[str]:
    """Return a caption of every held-out object; every other one says that the object stands still."""
    names = [name_object(Scene(shape, colour, "", "still")) for shape, colour in shapes_and_colours(held_out=True)]
    return [f"{name} {WORDS['still'][0]}" if number % 2 else name for number, name in enumerate(names)]


@torch.no_grad()
def film_strengths(
    model: VideoModel, lora: MotionLora, folder: Path, captions: list[str], plan: Plan, seed: int
) -> dict[float, torch.Tensor]:
    """Sample the captions at every strength, from the same noise; return clips `[n, FRAMES, 3, size, size]`."""
    clips = {}
    for strength in STRENGTHS:
        torch.manual_seed(seed)
        lora.strength.value = torch.tensor([strength])
        clips[strength] = film_captions(model, folder, captions, plan.steps, plan.size)
    return clips


def save_sheet(file: Path, clips: dict[float, torch.Tensor]) -> None:
    """Save a row per clip, strength by strength."""
    save_grid(file, torch.cat([*clips.values()]).flatten(0, 1), columns=FRAMES)


def format_strengths(clips: dict[float, torch.Tensor], path: str) -> str:
    """Return a table by strength: clips, share that shows this strength, mean strength shown, share that is steady."""
    lines = ["| strength | clips | as asked | shown | steady |", "|---" * 5 + "|"]
    for strength, row in clips.items():
        readings = [read_clip(clip) for clip in row]
        shown = [read_strength(reading, path) for reading in readings]
        right = share([min(STRENGTHS, key=lambda each: abs(each - value)) == strength for value in shown])
        steady = share([reading.steady for reading in readings])
        lines.append(f"| {strength:g} | {len(row)} | {right:.0%} | {statistics.fmean(shown):.2f} | {steady:.0%} |")
    return "\n".join(lines)


def evaluate_lora(folder: Path, plan: Plan) -> None:
    """Print the table of a LoRA for `batch` seeds of all held-out captions, and save their sheets."""
    model, lora = lora_model(folder, plan)
    copy_lora_weights(lora, folder, plan)
    filmed: dict[float, list[torch.Tensor]] = {strength: [] for strength in STRENGTHS}
    for seed in range(plan.seed, plan.seed + plan.batch):
        clips = film_strengths(model, lora, folder, held_out_captions(), plan, seed)
        save_sheet(folder / f"evaluation_lora_{plan.lora}_{seed}.png", clips)
        for strength, row in clips.items():
            filmed[strength].append(row)
    print(format_strengths({strength: torch.cat(rows) for strength, rows in filmed.items()}, plan.lora))
