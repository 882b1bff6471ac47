"""How well the trained model does what it is told, on combinations that it never saw: a table for the model card."""

from collections.abc import Callable
from pathlib import Path

import torch

from .grids import save_grid
from .measures import ClipReading, read_clip
from .motion_stage import Combination, film, summary, video_model
from .trainer import Plan, averages_of, copy_into
from .world import COLOURS, FRAMES, MOTIONS, SHAPES, combinations

PLAN = Plan(steps=20, batch=2, rate=0.0, seed=1)

Outcome = tuple[Combination, ClipReading]


def train(folder: Path, plan: Plan) -> None:
    """Trains nothing: `batch` seeds of every held-out combination, sampled with `steps` steps."""
    model = video_model(folder).requires_grad_(False)
    copy_into(dict(model.motion.named_parameters()), averages_of(folder / "motion.pt"))
    asked = combinations(held_out=True)
    outcomes: list[Outcome] = []
    for seed in range(plan.seed, plan.seed + plan.batch):
        torch.manual_seed(seed)
        clips = film(model, folder, asked, plan.steps, plan.size).cpu()
        save_grid(folder / f"evaluation_{seed}.png", clips.flatten(0, 1), columns=FRAMES)
        readings = [read_clip(clip) for clip in clips]
        print(f"seed {seed}: {summary(readings, asked)}", flush=True)
        outcomes += zip(asked, readings, strict=True)
    for position, names in enumerate((SHAPES, tuple(COLOURS), MOTIONS)):
        print(table([(combination[position], reading, combination) for combination, reading in outcomes], names))


def table(rows: list[tuple[str, ClipReading, Combination]], names: tuple[str, ...]) -> str:
    """One line for each name: clips, and the share of them whose motion, colour and shape are right."""
    lines = ["| asked for | clips | motion | colour | shape |", "|---|---|---|---|---|"]
    for name in names:
        own = [(reading, combination) for asked, reading, combination in rows if asked == name]
        if own:
            shares = (share(own, is_right) for is_right in (right_motion, right_colour, right_shape))
            lines.append(f"| {name} | {len(own)} | {' | '.join(f'{value:.0%}' for value in shares)} |")
    return "\n".join(lines)


def share(rows: list[tuple[ClipReading, Combination]], is_right: Callable[[ClipReading, Combination], bool]) -> float:
    return sum(is_right(*row) for row in rows) / len(rows)


def right_motion(reading: ClipReading, asked: Combination) -> bool:
    return reading.motion == asked[2]


def right_colour(reading: ClipReading, asked: Combination) -> bool:
    return reading.most_common("colour") == asked[1]


def right_shape(reading: ClipReading, asked: Combination) -> bool:
    return reading.most_common("shape") == asked[0]
