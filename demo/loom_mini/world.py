"""The world of Loom Mini: a coloured shape on a grey ground that moves, grows, shrinks or stands still.

Lengths are pixels of a 64 px picture; other sizes show the same scene scaled. Every frame shows
where its object is going, because a motion module sees no text: faint ghosts mark where the object
was in previous frames.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

FRAMES, UNIT = 16, 64.0
COLOURS = {
    "red": (0.90, 0.10, 0.10),
    "yellow": (0.95, 0.85, 0.10),
    "green": (0.10, 0.75, 0.15),
    "cyan": (0.10, 0.80, 0.85),
    "blue": (0.15, 0.25, 0.95),
    "purple": (0.68, 0.12, 0.85),
}
BACKGROUNDS = {"black": 0.0, "grey": 0.5, "white": 1.0}
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
MOTIONS = (*DIRECTIONS, "still", "grow", "shrink")

TRAVEL, START_SPREAD = 28.0, 3.0
SMALL, LARGE = 7.0, 16.0
GHOSTS, GHOST_LAG, GHOST_OPACITY = 4, 3, 0.11

Combination = tuple[str, str, str]  # shape, colour, motion

# Radii that give every shape about the area of a circle of radius 1, a little less for those with far corners.
RADII = {"circle": 1.0, "square": 0.89, "triangle": 1.40, "star": 1.45}
SHAPES = tuple(RADII)
STAR_NOTCH = 0.45


@dataclass(frozen=True)
class Scene:
    """Content of one clip; `x`, `y` and `radius` are those at the middle of the clip."""

    shape: str
    colour: str
    background: str
    motion: str
    x: float = UNIT / 2
    y: float = UNIT / 2
    radius: float = 12.5

    def state(self, frame: float) -> tuple[float, float, float]:
        """Return centre and radius at a frame, which may be before the first."""
        progress = frame / (FRAMES - 1) - 0.5
        dx, dy = DIRECTIONS.get(self.motion, (0.0, 0.0))
        growth = {"grow": 1.0, "shrink": -1.0}.get(self.motion, 0.0) * (LARGE - SMALL)
        radius = self.radius + growth * progress
        return self.x + dx * TRAVEL * progress, self.y + dy * TRAVEL * progress, max(radius, 0.0)


def is_held_out(shape: str, colour: str, motion: str) -> bool:
    """Return whether training never sees a combination: one motion of seven for each shape and colour."""
    number = SHAPES.index(shape) + 2 * list(COLOURS).index(colour) + 3 * MOTIONS.index(motion)
    return number % len(MOTIONS) == 0


def combinations(held_out: bool) -> list[Combination]:
    """Return all combinations that are held out from training, or all others."""
    every = ((shape, colour, motion) for shape in SHAPES for colour in COLOURS for motion in MOTIONS)
    return [combination for combination in every if is_held_out(*combination) == held_out]


def choose_combinations(held_out: bool, rows: int) -> list[Combination]:
    """Choose `rows` rows of one combination per motion, the same ones in every call."""
    generator, known = random.Random(rows), combinations(held_out)
    by_motion = [generator.choices([c for c in known if c[2] == motion], k=rows) for motion in MOTIONS]
    return [combination for row in zip(*by_motion, strict=True) for combination in row]


def scenes(generator: random.Random, held_out: bool = False) -> Iterator[Scene]:
    """Yield random scenes of the trained combinations, or of those held out, without end."""
    known = combinations(held_out)
    while True:
        yield random_scene(generator, *generator.choice(known))


def random_scene(generator: random.Random, shape: str, colour: str, motion: str) -> Scene:
    x, y, radius = random_place(generator, motion)
    return Scene(shape, colour, generator.choice(list(BACKGROUNDS)), motion, x, y, radius)


def random_place(generator: random.Random, motion: str) -> tuple[float, float, float]:
    """Draw place and radius; along the motion the place is nearly fixed, so that a frame number determines it."""
    dx, dy = DIRECTIONS.get(motion, (0.0, 0.0))
    if motion in ("grow", "shrink"):
        reach, radius = (7.0, 7.0), generator.uniform(0.93, 1.07) * (SMALL + LARGE) / 2
    else:
        reach, radius = (START_SPREAD if dx else 12.0, START_SPREAD if dy else 12.0), generator.uniform(11.5, 13.5)
    x, y = (UNIT / 2 + generator.uniform(-limit, limit) for limit in reach)
    return x, y, radius


def draw_clip(scene: Scene, size: int = int(UNIT)) -> torch.Tensor:
    """Draw all frames of a scene, `[FRAMES, 3, size, size]` in 0 to 1."""
    return draw_frames([(scene, float(frame)) for frame in range(FRAMES)], size)


def draw_frames(scene_frames: Sequence[tuple[Scene, float]], size: int = int(UNIT)) -> torch.Tensor:
    """Draw one picture for each (scene, frame), `[n, 3, size, size]` in 0 to 1."""
    pictures = torch.empty(len(scene_frames), 3, size, size)
    for shape in SHAPES:
        rows = [row for row, (scene, _) in enumerate(scene_frames) if scene.shape == shape]
        if rows:
            pictures[rows] = _draw(shape, [scene_frames[row] for row in rows], size)
    return pictures


def _draw(shape: str, scene_frames: Sequence[tuple[Scene, float]], size: int) -> torch.Tensor:
    lags = [lag * GHOST_LAG for lag in range(GHOSTS + 1)]
    states = torch.tensor([[scene.state(frame - lag) for lag in lags] for scene, frame in scene_frames])
    opacity = coverage(shape, states, size)
    still = torch.tensor([scene.motion == "still" for scene, _ in scene_frames])
    grows = torch.tensor([scene.motion == "grow" for scene, _ in scene_frames])[:, None, None, None]
    ghosts = GHOST_OPACITY * opacity[:, 1:].sum(1, keepdim=True) * ~still[:, None, None, None]
    colour = torch.tensor([COLOURS[scene.colour] for scene, _ in scene_frames])[:, :, None, None]
    ground = torch.tensor([BACKGROUNDS[scene.background] for scene, _ in scene_frames])[:, None, None, None]
    ground = torch.lerp(ground.expand_as(colour), colour, ghosts)
    return torch.lerp(ground, torch.where(grows, colour * (1 - ghosts), colour), opacity[:, :1])


def coverage(shape: str, states: torch.Tensor, size: int) -> torch.Tensor:
    """Return the covered part of each pixel: `[..., 3]` of x, y, radius to `[..., size, size]`."""
    pixels = (torch.arange(size) + 0.5) * (UNIT / size)
    x, y, radius = (states[..., index, None, None] for index in range(3))
    distance = outline_distance(shape, pixels - x, pixels[:, None] - y, radius * RADII[shape])
    return (0.5 - distance * (size / UNIT)).clamp(0, 1)


def outline_distance(shape: str, x: torch.Tensor, y: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Return the distance to the outline, negative inside; `radius` reaches a corner (square: middle of a side)."""
    if shape == "circle":
        return (x * x + y * y).sqrt() - radius
    if shape == "square":
        return torch.maximum(x.abs(), y.abs()) - radius
    if shape == "triangle":
        return torch.maximum(y, math.sqrt(0.75) * x.abs() - 0.5 * y) - 0.5 * radius
    return _star_distance(x, y, radius)


def _star_distance(x: torch.Tensor, y: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Fold every point into half an arm of the star, where the outline is one line."""
    arm = 2 * math.pi / 5
    angle = torch.remainder(torch.atan2(x, -y) + arm / 2, arm) - arm / 2
    length = (x * x + y * y).sqrt()
    across, along = length * angle.abs().sin(), length * angle.cos()
    notch_x, notch_y = STAR_NOTCH * math.sin(arm / 2), STAR_NOTCH * math.cos(arm / 2)
    edge = math.hypot(notch_x, 1 - notch_y)
    return ((1 - notch_y) * across + notch_x * (along - radius)) / edge
