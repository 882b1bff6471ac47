"""Tables for the model card: how well the trained model follows prompts on combinations that it never saw."""

from pathlib import Path

import torch

from .grids import save_grid
from .lora_evaluation import evaluate_lora
from .measures import read_clip
from .motion_stage import checkpoint_file, copy_trained_weights, film, summarise, video_model
from .scores import format_table, score_clips
from .trainer import Plan
from .world import COLOURS, FRAMES, MOTIONS, SHAPES, combinations

PLAN = Plan(steps=20, batch=2, rate=0.0, seed=1)


def train(folder: Path, plan: Plan) -> None:
    """Train nothing; sample `batch` seeds of every held-out combination with `steps` steps.

    With `lora`, evaluate a motion LoRA at several strengths instead.
    """
    if plan.lora:
        evaluate_lora(folder, plan)
    else:
        _evaluate_motion_modules(folder, plan)


def _evaluate_motion_modules(folder: Path, plan: Plan) -> None:
    model = video_model(folder, plan).requires_grad_(False)
    copy_trained_weights(model.motion, folder, plan)
    sheet = checkpoint_file(folder, plan).stem.replace("motion", "evaluation", 1)
    asked, readings = combinations(held_out=True), []
    for seed in range(plan.seed, plan.seed + plan.batch):
        torch.manual_seed(seed)
        clips = film(model, folder, asked, plan.steps, plan.size)
        save_grid(folder / f"{sheet}_{seed}.png", clips.flatten(0, 1), columns=FRAMES)
        seed_readings = [read_clip(clip) for clip in clips]
        print(f"seed {seed}: {summarise(seed_readings, asked)}", flush=True)
        readings += seed_readings
    asked *= plan.batch
    for position, names in enumerate((SHAPES, tuple(COLOURS), MOTIONS)):
        print(format_table(score_clips(readings, asked), asked, position, names))
