"""How well the trained model does what it is told, on combinations that it never saw: tables for the model card."""

from pathlib import Path

import torch

from .grids import save_grid
from .measures import read_clip
from .motion_stage import checkpoint_file, film, summary, video_model
from .scores import clip_scores, table
from .trainer import Plan, averages_of, copy_into
from .world import COLOURS, FRAMES, MOTIONS, SHAPES, combinations

PLAN = Plan(steps=20, batch=2, rate=0.0, seed=1)


def train(folder: Path, plan: Plan) -> None:
    """Trains nothing: `batch` seeds of every held-out combination, sampled with `steps` steps."""
    model = video_model(folder, plan).requires_grad_(False)
    checkpoint = checkpoint_file(folder, plan)
    copy_into(dict(model.motion.named_parameters()), averages_of(checkpoint))
    sheet = checkpoint.stem.replace("motion", "evaluation", 1)
    asked, readings = combinations(held_out=True), []
    for seed in range(plan.seed, plan.seed + plan.batch):
        torch.manual_seed(seed)
        clips = film(model, folder, asked, plan.steps, plan.size)
        save_grid(folder / f"{sheet}_{seed}.png", clips.flatten(0, 1), columns=FRAMES)
        of_seed = [read_clip(clip) for clip in clips]
        print(f"seed {seed}: {summary(of_seed, asked)}", flush=True)
        readings += of_seed
    asked *= plan.batch
    for position, names in enumerate((SHAPES, tuple(COLOURS), MOTIONS)):
        print(table(clip_scores(readings, asked), asked, position, names))
