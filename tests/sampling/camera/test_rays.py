"""Rays of a camera path: the vectors of CameraCtrl's formulas."""

import pytest
import torch
from animatediff_loom.sampling.camera.keyframes import follow_keyframes
from animatediff_loom.sampling.camera.poses import LENS, CameraPath, place_subject
from animatediff_loom.sampling.camera.rays import cast_rays, fit_lenses
from torch.testing import assert_close


def make_path(*cameras: torch.Tensor, source_size: tuple[int, int] = (1280, 720)) -> CameraPath:
    """A path of `cameras` `[4, 4]` from camera to world, with CameraCtrl's lens."""
    poses = torch.linalg.inv(torch.stack(cameras))[:, :3]
    lenses = torch.tensor(LENS, dtype=torch.float64).expand(len(cameras), 4)
    return CameraPath(poses, lenses, place_subject(2), source_size)


def at(*position: float) -> torch.Tensor:
    camera = torch.eye(4, dtype=torch.float64)
    camera[:3, 3] = torch.tensor(position, dtype=torch.float64)
    return camera


def test_a_lens_fits_a_narrower_picture():
    assert_close(
        fit_lenses(make_path(at(0, 0, 0)), 384, 256)[0],
        torch.tensor([216.0924, 216.0924, 192, 128]).double(),
        atol=1e-4,
        rtol=0,
    )


@pytest.mark.parametrize(("width", "height"), [(512, 512), (1280, 720), (1024, 256), (256, 640)])
def test_pixels_stay_square(width, height):
    fx, fy, *_ = fit_lenses(make_path(at(0, 0, 0)), width, height)[0].tolist()
    assert fx == pytest.approx(fy, rel=1e-6)
    assert max(fx / width / LENS[0], fy / height / LENS[1]) >= 1, "a picture is a part of the source, never more"


def test_the_moment_is_first():
    rays = cast_rays(make_path(at(0, 0, 0), at(0.1, 0.2, 0.3)), 0, 2, 384, 256)
    assert rays.shape == (2, 6, 256, 384)
    expected = torch.tensor([0.258111, -0.250478, 0.080948, -0.606717, -0.403950, 0.684631]).double()
    assert_close(rays[1, :, 0, 0], expected, atol=1e-6, rtol=0)
    assert_close(rays[0, :, 0, 0], torch.cat((torch.zeros(3).double(), expected[3:])), atol=1e-6, rtol=0)


def test_rays_are_relative_to_the_first_frame_of_the_clip():
    path = follow_keyframes("100%: pan 40, dolly 1, roll 10", 6, "linear", 2.0)
    moved = at(3, -2, 1) @ torch.linalg.inv(torch.vstack((path.poses[2], torch.tensor([[0, 0, 0, 1.0]]).double())))
    elsewhere = CameraPath(
        (torch.cat((path.poses, torch.tensor([0, 0, 0, 1.0]).double().expand(6, 1, 4)), 1) @ moved)[:, :3],
        path.lenses,
        path.subject,
    )
    assert_close(cast_rays(elsewhere, 0, 6, 32, 24), cast_rays(path, 0, 6, 32, 24), atol=1e-6, rtol=0)


def test_a_part_of_a_clip_has_the_rays_of_the_whole():
    path = follow_keyframes("100%: pan 40, dolly 1", 8, "linear", 2.0)
    whole = cast_rays(path, 0, 8, 32, 24)
    assert torch.equal(cast_rays(path, 3, 6, 32, 24), whole[3:6])
    assert_close((whole[:, :3] * whole[:, 3:]).sum(dim=1), torch.zeros(8, 24, 32).double(), atol=1e-6, rtol=0)
    assert_close(whole[:, 3:].norm(dim=1), torch.ones(8, 24, 32).double())
