"""The picture moves as the camera does, and noise with it."""

import math

import pytest
import torch
from animatediff_loom.sampling.camera.keyframes import follow_keyframes
from animatediff_loom.sampling.camera.picture_motion import find_picture_steps
from animatediff_loom.sampling.camera.poses import LENS
from animatediff_loom.sampling.noise.initial import CAMERA, NoiseSettings, check_clip, make_noise
from animatediff_loom.sampling.noise.paths import Camera, combine_steps

from tests.support.texts import expect_error

WIDTH, HEIGHT = 64, 36
FOCAL = LENS[0] * WIDTH


def steps(text: str, frames: int = 5, distance: float = 2.0) -> list[Camera]:
    return find_picture_steps(follow_keyframes(text, frames, "linear", distance), WIDTH, HEIGHT)


def total(text: str, frames: int = 5, distance: float = 2.0) -> tuple[float, float, float, float]:
    """Shift to the right and down, zoom and clockwise turn of the picture from the first to the last frame."""
    *_, (matrix, shift) = combine_steps(steps(text, frames, distance))
    moved = torch.linalg.inv(matrix)
    zoom = math.sqrt(float(torch.linalg.det(moved)))
    y, x = (-moved @ shift).tolist()
    return x, y, zoom, math.degrees(math.atan2(float(moved[0, 1]), float(moved[1, 1])))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100%: pan 8", (-4 * FOCAL * math.tan(math.radians(2)), 0, 1, 0)),
        ("100%: tilt 8", (0, 4 * FOCAL * math.tan(math.radians(2)), 1, 0)),
        ("100%: roll 40", (0, 0, 1, -40)),
        ("100%: zoom 3", (0, 0, 3, 0)),
        ("100%: dolly 1", (0, 0, 2, 0)),
        ("100%: dolly -2", (0, 0, 0.5, 0)),
        ("100%: orbit 60", (0, 0, 1, 0)),
    ],
)
def test_the_picture_shifts_grows_and_turns(text, expected):
    assert total(text) == pytest.approx(expected, abs=1e-6)


def test_a_truck_shifts_the_picture_by_the_distance():
    x, y, *_ = total("100%: truck 0.01")
    assert (x, y) == pytest.approx((-FOCAL * 0.01 / 2, 0), abs=1e-4)


def test_moves_change_over_the_clip():
    eased = steps("0: pan 0 ease_in\n100%: pan 16")
    shifts = [step.pan_x for step in eased]
    assert shifts == pytest.approx([-FOCAL * math.tan(math.radians(turn)) for turn in (1, 3, 5, 7)])


@pytest.mark.parametrize(
    ("text", "frames"), [("100%: dolly 2", 2), ("0: dolly 1\n100%: dolly 3", 3), ("100%: pan 95", 2)]
)
def test_a_camera_that_passes_the_subject_is_refused(text, frames):
    with expect_error("passes the subject", "Raise `distance` of Camera Path"):
        steps(text, frames)


def settings(text: str, frames: int) -> NoiseSettings:
    return NoiseSettings(CAMERA, camera_path=follow_keyframes(text, frames, "linear", 2.0))


def draw(text: str, frames: int = 6) -> torch.Tensor:
    white = torch.randn(frames, 4, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    return make_noise(white, settings(text, frames), seed=3)


def test_noise_moves_by_whole_pixels_where_the_path_does():
    pixels = math.degrees(math.atan(2 / FOCAL))
    moved = draw(f"0: pan 0\n1: pan {-pixels:.9f}\n3: pan {-pixels:.9f}\n5: pan 0")
    assert torch.equal(moved[1][..., 2:], moved[0][..., :-2])
    assert torch.equal(moved[2], moved[1])
    assert torch.equal(moved[3], moved[1])


def test_noise_along_a_path_is_white():
    moved = draw("100%: pan 20, tilt 5, zoom 1.5, roll 30, dolly 0.3", 12)
    assert float(moved[-1].var()) == pytest.approx(1, abs=0.05)
    neighbours = (moved[-1][..., 1:] * moved[-1][..., :-1]).mean()
    assert abs(float(neighbours)) < 0.03


def test_a_path_that_ends_before_the_clip_is_refused():
    with expect_error("The clip has 20 frames", "only 16", "Raise `frames` of Camera Path to 20"):
        check_clip(settings("100%: pan 20", 16), (20, 4, HEIGHT, WIDTH))
    check_clip(settings("100%: pan 20", 16), (16, 4, HEIGHT, WIDTH))


def test_a_path_that_leaves_the_plane_is_refused():
    with expect_error("The noise moves across", "Lower the pan"):
        check_clip(settings("100%: zoom 0.1, dolly -100", 16), (16, 4, 64, 64))
