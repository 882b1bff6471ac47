"""The world of Loom Mini, and the measures that read it back."""

import random
from collections import Counter
from itertools import islice

import pytest
import torch
from loom_mini.captions import WORDS, caption, plain_caption
from loom_mini.measures import classify_motion, nearest_colour, object_mask, read_clip, read_frame
from loom_mini.world import (
    BACKGROUNDS,
    COLOURS,
    DIRECTIONS,
    FRAMES,
    MOTIONS,
    SHAPES,
    Scene,
    combinations,
    draw_clip,
    draw_frames,
    is_held_out,
    random_scene,
    scenes,
)

DRAWS = 4000


def some_scenes(count: int, seed: int = 0) -> list[Scene]:
    """All combinations: the trained ones and those held out."""
    generator, known = random.Random(seed), combinations(False) + combinations(True)
    return [random_scene(generator, *known[number % len(known)]) for number in range(count)]


def test_one_combination_in_seven_is_held_out():
    held_out, trained = combinations(True), combinations(False)
    assert len(held_out) * 7 == len(held_out) + len(trained) == len(SHAPES) * len(COLOURS) * len(MOTIONS)
    for position, names in enumerate((SHAPES, COLOURS, MOTIONS)):
        for name in names:
            assert any(name == combination[position] for combination in held_out)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        pairs = {(combination[first], combination[second]) for combination in held_out + trained}
        assert {(combination[first], combination[second]) for combination in trained} == pairs


@pytest.mark.parametrize("held_out", [False, True])
def test_training_draws_never_hold_a_held_out_combination(held_out):
    drawn = Counter((s.shape, s.colour, s.motion) for s in islice(scenes(random.Random(7), held_out), DRAWS))
    assert all(is_held_out(*combination) == held_out for combination in drawn)
    assert drawn.keys() == set(combinations(held_out))


def test_captions_name_what_the_picture_shows_and_nothing_else():
    generator = random.Random(3)
    for scene in some_scenes(1000):
        words = set(caption(scene, generator).replace(",", "").split())
        assert words & set(SHAPES) == {scene.shape}
        assert words & set(COLOURS) == {scene.colour}
        assert words & set(BACKGROUNDS) <= {scene.background}
        assert said(caption(scene, generator)) == scene.motion


def said(text: str) -> str:
    """The motion whose wording ends the text, or stands before its background."""
    (motion,) = {m for m in MOTIONS for words in WORDS[m] if f"{words} on " in f"{text} on ".replace(",", " on ")}
    return motion


def test_no_wording_is_shared_by_two_motions():
    wordings = [words for motion in MOTIONS for words in WORDS[motion]]
    assert len(set(wordings)) == len(wordings)
    assert plain_caption("circle", "red", "right") == "a red circle moving right"


def test_every_single_frame_is_read_right():
    frames = (0.0, FRAMES / 2, FRAMES - 1.0)
    wanted = [(scene, frames[number % 3]) for number, scene in enumerate(some_scenes(168))]
    readings = [read_frame(picture) for picture in draw_frames(wanted)]
    right = [
        (r.shape, r.colour, r.cue) == (s.shape, s.colour, s.motion) for r, (s, _) in zip(readings, wanted, strict=True)
    ]
    assert sum(right) >= 0.99 * len(right)


def test_every_clip_is_read_right():
    chosen = some_scenes(14, seed=1)
    readings = [read_clip(draw_clip(scene)) for scene in chosen]
    assert [reading.motion for reading in readings] == [scene.motion for scene in chosen]
    assert all(reading.steady for reading in readings)
    for reading, scene in zip(readings, chosen, strict=True):
        assert (reading.mean_step > 1.5) == (scene.motion in DIRECTIONS)


@pytest.mark.parametrize("motion", [motion for motion in MOTIONS if motion != "still"])
def test_the_first_frame_tells_the_motion(motion):
    still, moving = (draw_clip(Scene("circle", "red", "black", name))[0] for name in ("still", motion))
    at = Scene("circle", "red", "black", motion).state(0.0)
    assert read_frame(moving).cue == motion
    assert read_frame(still).cue == "still"
    assert at != Scene("circle", "red", "black", "still").state(0.0)


def test_the_same_scene_is_the_same_at_another_size():
    scene = Scene("star", "cyan", "grey", "left")
    small, large = draw_clip(scene, 64), draw_clip(scene, 128)
    halved = torch.nn.functional.avg_pool2d(large, 2)
    assert (halved - small).abs().mean() < 0.005
    assert read_clip(large).motion == "left"


def test_an_empty_picture_shows_nothing():
    grey = torch.full((3, 64, 64), 0.5)
    assert not object_mask(grey).any()
    assert read_frame(grey).shape == ""
    assert classify_motion([]) == ""


@pytest.mark.parametrize("other", [Scene("star", "blue", "white", "right"), Scene("square", "red", "white", "right")])
def test_a_clip_whose_object_changes_is_not_steady(other: Scene):
    clip = draw_clip(Scene("square", "blue", "white", "right"))
    assert read_clip(clip).steady
    assert not read_clip(torch.cat([clip[: FRAMES // 2], draw_clip(other)[FRAMES // 2 :]])).steady


def test_shuffled_frames_have_long_steps():
    clip = draw_clip(Scene("square", "blue", "white", "right"))
    order = torch.randperm(FRAMES, generator=torch.Generator().manual_seed(0))
    assert read_clip(clip[order]).mean_step > 3 * read_clip(clip).mean_step


def test_colours_are_told_apart_by_hue_whatever_their_brightness():
    for name, colour in COLOURS.items():
        picture = torch.tensor(colour)[:, None, None].expand(3, 8, 8) * 0.7
        assert nearest_colour(picture, torch.ones(8, 8, dtype=torch.bool)) == name
