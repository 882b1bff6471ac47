"""Camera moves as users type them, and the cameras that they stand for."""

import math

import pytest
import torch
from animatediff_loom.sampling.camera.keyframes import LIMITS, follow_keyframes, read_curves
from animatediff_loom.sampling.camera.poses import Moves, from_first_camera, to_square
from animatediff_loom.sampling.steering.curves import evaluate_curve
from hypothesis import given
from hypothesis import strategies as st

from tests.support.texts import expect_error


def values(text: str, move: str, frames: int = 5, easing: str = "linear") -> list[float]:
    points = read_curves(text, frames, easing)[move]
    return [round(evaluate_curve(points, frame), 6) for frame in range(frames)]


@pytest.mark.parametrize(
    ("text", "move", "expected"),
    [
        ("100%: pan 20", "pan", [0, 5, 10, 15, 20]),
        ("4: zoom 2", "zoom", [1, 1.25, 1.5, 1.75, 2]),
        ("0: pan -10 ease_in\n4: pan 6", "pan", [-10, -9, -6, -1, 6]),
        ("0: dolly 1, pan 3\n\n2: dolly 2 hold; tilt 4\n100%: dolly 0", "dolly", [1, 1.5, 2, 2, 0]),
        ("0: dolly 1, pan 3\n2: dolly 2, tilt 4\n4: dolly 0", "tilt", [0, 2, 4, 4, 4]),
        ("100\uff05\uff1aRoll 8\uff0corbit 40", "roll", [0, 2, 4, 6, 8]),
    ],
)
def test_a_move_goes_from_keyframe_to_keyframe(text, move, expected):
    assert values(text, move) == expected


def test_the_easing_of_the_node_is_that_of_moves_without_their_own():
    assert values("4: pan 8", "pan", easing="ease_in") == [0, 0.5, 2, 4.5, 8]
    assert values("0: pan 0 linear\n4: pan 8", "pan", easing="hold") == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["`keyframes` has nothing in line 1", "`100%: pan 20, dolly 0.5`"]),
        ("0: pan 0\npan 20", ["'pan 20' in line 2, column 1", "a frame or a percentage"]),
        ("0: pan 0\n8: spin 20", ["the move 'spin' in line 2, column 4", "pan, tilt, roll"]),
        ("8: pan", ["'pan' in line 1, column 4", "`pan 20`"]),
        ("8: pan 1, zoom 0", ["'zoom 0' in line 1, column 11", "a zoom from 0.1 to 10"]),
        ("0: pan 1 fast\n4: pan 2", ["the easing 'fast' in line 1", "ease_in_out"]),
        ("4: pan 20 ease_in", ["'ease_in' after the last value of pan", "`0: pan 0 ease_in`"]),
        ("4: pan 1\n2: pan 3", ["2 in line 2, column 1", "a frame after 4"]),
        ("4:", ["nothing in line 1, column 3", "`pan 20`"]),
        ("200%: pan 20", ["200% in line 1", "up to 100%"]),
    ],
)
def test_a_mistake_is_named_with_its_place(text, parts):
    with expect_error(*parts):
        follow_keyframes(text, 16, "linear", 2.0)


def test_every_move_of_a_camera_has_limits_around_its_rest():
    assert list(LIMITS) == list(Moves.__dataclass_fields__)
    assert all(low <= getattr(Moves(), move) <= high for move, (low, high) in LIMITS.items())


def last_camera(text: str, distance: float = 2.0) -> torch.Tensor:
    """The last camera of two, `[4, 4]` from camera to world."""
    return torch.linalg.inv(to_square(follow_keyframes(text, 2, "linear", distance).poses))[1]


@pytest.mark.parametrize(
    ("text", "forward"),
    [
        ("1: pan 90", (1, 0, 0)),
        ("1: tilt 90", (0, -1, 0)),
        ("1: roll 30", (0, 0, 1)),
        ("1: pan 90, tilt 90", (0, -1, 0)),
        ("1: orbit 90", (-1, 0, 0)),
        ("1: orbit 90, pan 90", (0, 0, 1)),
    ],
)
def test_where_a_camera_looks(text, forward):
    assert torch.allclose(last_camera(text)[:3, 2], torch.tensor(forward, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("1: dolly 1.5", (0, 0, 1.5)),
        ("1: truck 1, pedestal 2", (1, -2, 0)),
        ("1: orbit 90", (2, 0, 2)),
        ("1: orbit 90, dolly 1", (1, 0, 2)),
        ("1: pan 40, tilt 10, roll 5", (0, 0, 0)),
    ],
)
def test_where_a_camera_is(text, position):
    assert torch.allclose(last_camera(text)[:3, 3], torch.tensor(position, dtype=torch.float64), atol=1e-12)


def test_a_roll_turns_the_right_of_the_camera_down():
    half = math.sqrt(0.5)
    assert torch.allclose(last_camera("1: roll 45")[:3, 0], torch.tensor((half, half, 0), dtype=torch.float64))


angles = st.integers(-1800, 1800).map(lambda tenths: tenths / 10)


@given(st.lists(st.tuples(angles, angles, angles, st.integers(-3, 3), st.integers(1, 10)), min_size=1, max_size=4))
def test_every_pose_is_a_rotation_and_the_first_camera_is_the_origin(keyframes):
    text = "\n".join(
        f"{number}: pan {pan:.3f}, tilt {tilt:.3f}, orbit {orbit:.3f}, dolly {dolly:.3f}, zoom {zoom:.3f}"
        for number, (pan, tilt, orbit, dolly, zoom) in enumerate(keyframes)
    )
    path = follow_keyframes(text, len(keyframes), "linear", 2.0)
    rotations = path.poses[:, :, :3]
    assert torch.allclose(rotations @ rotations.mT, torch.eye(3, dtype=torch.float64).expand_as(rotations), atol=1e-12)
    cameras = from_first_camera(path.poses)
    assert torch.allclose(cameras[0], torch.eye(4, dtype=torch.float64), atol=1e-12)
    change = torch.linalg.inv(cameras[0]) @ cameras[-1]
    world = torch.linalg.inv(to_square(path.poses))
    assert torch.allclose(torch.linalg.inv(world[0]) @ world[-1], change, atol=1e-12)


def test_a_million_characters_are_read_at_once():
    with expect_error("`keyframes` has"):
        follow_keyframes("1: " + "9" * 1_000_000 + "\n", 16, "linear", 2.0)
