"""Motions that a motion LoRA adds to every object: the paths of its centre, by the strength of the LoRA.

Lengths are pixels of a 64 px picture. At strength 0 objects stand still, and negative strengths run
the path the other way.
"""

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .measures import ClipReading
from .world import BACKGROUNDS, COLOURS, FRAMES, SHAPES, START_SPREAD, TRAVEL, UNIT, Scene, is_held_out

ORBIT = 11.0  # radius of a turn

CentrePath = Callable[[float, float], tuple[float, float]]  # progress from 0 to 1 and strength to x and y


def rise(progress: float, strength: float) -> tuple[float, float]:
    """Return the place on a straight way up, whose middle is the centre of the picture."""
    return 0.0, -strength * TRAVEL * (progress - 0.5)


def turn(progress: float, strength: float) -> tuple[float, float]:
    """Return the place on one turn around the centre, clockwise from the top at positive strengths."""
    angle = 2 * math.pi * progress
    return strength * ORBIT * math.sin(angle), -abs(strength) * ORBIT * math.cos(angle)


PATHS: dict[str, CentrePath] = {"up": rise, "turn": turn}
GHOSTS = {"up": "up", "turn": "still"}  # motion of the world whose cue the objects show; an arc of ghosts has no words
DESCRIPTIONS = {"up": "everything moves up", "turn": "everything turns around the centre, clockwise"}


@dataclass(frozen=True)
class SteeredScene(Scene):
    """Scene whose object follows the path of a LoRA; `x`, `y` are the middle of that path."""

    path: str = "up"
    strength: float = 1.0

    def state(self, frame: float) -> tuple[float, float, float]:
        dx, dy = PATHS[self.path](frame / (FRAMES - 1), self.strength)
        return self.x + dx, self.y + dy, self.radius


def choose_scene(generator: random.Random, path: str, strength: float) -> SteeredScene:
    """Return a scene of a shape and colour that is not held out, near the middle of the picture."""
    shape, colour = generator.choice(shapes_and_colours(held_out=False))
    ground, radius = generator.choice(list(BACKGROUNDS)), generator.uniform(11.5, 13.5)
    x, y = (UNIT / 2 + generator.uniform(-START_SPREAD, START_SPREAD) for _ in range(2))
    return SteeredScene(shape, colour, ground, GHOSTS[path], x, y, radius, path, strength)


def shapes_and_colours(held_out: bool) -> list[tuple[str, str]]:
    """Return the shapes and colours that the training of a LoRA never sees, or all others."""
    pairs = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    return [pair for pair in pairs if any(is_held_out(*pair, motion) for motion in ("up", "still")) == held_out]


def read_strength(reading: ClipReading, path: str) -> float:
    """Return the strength at which the path fits the way of the object best, wherever it lies; 0 without an object."""
    frames = [(number / (FRAMES - 1), frame) for number, frame in enumerate(reading.frames) if frame.area]
    if len(frames) < 2:
        return 0.0
    way = _centre([(frame.x, frame.y) for _, frame in frames])
    fits = {}
    for sign in (1.0, -1.0):
        line = _centre([PATHS[path](progress, sign) for progress, _ in frames])
        fits[sign] = max(0.0, _multiply(way, line) / _multiply(line, line))
    sign = max(fits, key=lambda each: fits[each])
    return sign * fits[sign]


def _centre(places: Sequence[tuple[float, float]]) -> list[float]:
    """Return coordinates relative to their mean, all x before all y."""
    axes = zip(*places, strict=True)
    return [value - statistics.fmean(axis) for axis in map(list, axes) for value in axis]


def _multiply(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
