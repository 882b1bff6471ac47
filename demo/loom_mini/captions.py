"""Captions of a scene: plain English in several wordings."""

import random

from .world import Scene

WORDS = {
    "left": ("moving left", "moving to the left", "going left", "that goes to the left", "drifting to the left"),
    "right": ("moving right", "moving to the right", "going right", "that goes to the right", "drifting to the right"),
    "up": ("moving up", "going up", "rising", "that goes up", "drifting upwards"),
    "down": ("moving down", "going down", "sinking", "that goes down", "drifting downwards"),
    "still": ("standing still", "that stands still", "not moving", "that stays where it is", "at rest"),
    "grow": ("growing", "that grows", "getting bigger", "that becomes larger", "growing larger"),
    "shrink": ("shrinking", "that shrinks", "getting smaller", "that becomes smaller", "shrinking away"),
}
OPENINGS = ("", "", "a small film of ", "a clip of ", "an animation of ")
GROUNDS = ("", "", " on a {} background", " on {} ground", ", {} background")


def caption(scene: Scene, generator: random.Random) -> str:
    """Choose one of the wordings; most of them name the background."""
    words = generator.choice(WORDS[scene.motion])
    ground = generator.choice(GROUNDS).format(scene.background)
    return f"{generator.choice(OPENINGS)}{name_object(scene)} {words}{ground}"


def plain_caption(shape: str, colour: str, motion: str) -> str:
    """Return the wording that users try first, such as "a red circle moving right"."""
    return f"a {colour} {shape} {WORDS[motion][0]}"


def name_object(scene: Scene) -> str:
    return f"a {scene.colour} {scene.shape}"
