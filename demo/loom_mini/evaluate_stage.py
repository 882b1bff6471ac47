"""How well the trained model does what it is told, on combinations that it never saw: tables for the model card."""

from pathlib import Path

import torch

from .grids import save_grid
from .measures import read_clip
from .motion_stage import film, summary, video_model
from .scores import clip_scores, table
from .trainer import Plan, averages_of, copy_into
from .world import COLOURS, FRAMES, MOTIONS, SHAPES, combinations

PLAN = Plan(steps=20, batch=2, rate=0.0, seed=1)


def train(folder: Path, plan: Plan) -> None:
    """Trains nothing: `batch` seeds of every held-out combination, sampled with `steps` steps."""
    model = video_model(folder).requires_grad_(False)
    copy_into(dict(model.motion.named_parameters()), averages_of(folder / "motion.pt"))
    asked, readings = combinations(held_out=True), []
    for seed in range(plan.seed, plan.seed + plan.batch):
        torch.manual_seed(seed)
        clips = film(model, folder, asked, plan.steps, plan.size)
        save_grid(folder / f"evaluation_{seed}.png", clips.flatten(0, 1), columns=FRAMES)
        of_seed = [read_clip(clip) for clip in clips]
        print(f"seed {seed}: {summary(of_seed, asked)}", flush=True)
        readings += of_seed
    asked *= plan.batch
    for position, names in enumerate((SHAPES, tuple(COLOURS), MOTIONS)):
        print(table(clip_scores(readings, asked), asked, position, names))
