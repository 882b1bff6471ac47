"""Warped noise: the vectors of the papers, whole pixels exactly, and white noise of unit variance for every camera."""

import math

import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.sampling.noise import warp as warping
from animatediff_loom.sampling.noise.mixing import mix
from animatediff_loom.sampling.noise.paths import BACK, Camera, follow_camera, follow_flows
from animatediff_loom.sampling.noise.warp import split, warp_clip

FRAMES, SIZE = 6, 64
DRAWS = 200_000


def clip(camera: Camera, frames: int = FRAMES, size: int = SIZE, seed: int = 1) -> torch.Tensor:
    return warp_clip(first(size), follow_camera(camera, frames, size, size), seed)


def first(size: int = SIZE) -> torch.Tensor:
    return torch.randn(4, size, size, generator=torch.Generator().manual_seed(0))


def correlate(x: torch.Tensor, y: torch.Tensor) -> float:
    return float((x * y).mean() / (x.std() * y.std()))


def parts_of_one(value: float, weights: list[float], z: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    sources = torch.zeros(len(weights), dtype=torch.long)
    parts, w = split(torch.tensor([[value]]), sources, torch.tensor(weights), torch.tensor([z]))
    return parts[0], parts[0] / w.sqrt()


def test_expansion_to_four_pixels():
    _, result = parts_of_one(1.2, [1.0] * 4, [0.3, -0.5, 0.7, 0.1])
    assert torch.allclose(result, torch.tensor([0.75, -0.05, 1.15, 0.55]))


def test_bridge_with_two_weights():
    """The bridge's z is 0.5, in the only direction that is not in their weighted sum."""
    parts, result = parts_of_one(1.2, [0.25, 0.75], [0.5 * math.sqrt(0.75), -0.5 * math.sqrt(0.25)])
    assert torch.allclose(parts, torch.tensor([0.516506, 0.683494]), atol=1e-6)
    assert torch.allclose(result, torch.tensor([1.033013, 0.789230]), atol=1e-6)


@pytest.mark.parametrize("weights", [[1.0] * 4, [0.1, 0.2, 0.7], [3.0, 0.0, 1.0]])
def test_parts_are_independent_and_add_up(weights):
    generator = torch.Generator().manual_seed(5)
    x, z = torch.randn(DRAWS, 1, generator=generator), torch.randn(DRAWS, len(weights), generator=generator)
    parts, w = split(x, torch.zeros(len(weights), dtype=torch.long), torch.tensor(weights), z)
    assert torch.allclose(parts.sum(dim=1), x[:, 0], atol=1e-5)
    assert torch.allclose(parts.T.cov(), torch.diag(w), atol=8e-3)


@pytest.mark.parametrize(("x", "y"), [(1, 0), (-2, 0), (0, 3), (5, -1)])
def test_whole_pixels_are_exact(x, y):
    moved, start = clip(Camera(pan_x=x, pan_y=y)), first()
    assert torch.equal(moved[0], start)
    for number in (1, FRAMES - 1):
        rows, columns = slice_moved(number * y), slice_moved(number * x)
        assert torch.equal(moved[number][:, rows[1], columns[1]], start[:, rows[0], columns[0]])


def slice_moved(shift: int) -> tuple[slice, slice]:
    """Return where a picture that moves by `shift` was, and where it is, as far as it stays inside."""
    inside = SIZE - abs(shift)
    return slice(max(0, -shift), max(0, -shift) + inside), slice(max(0, shift), max(0, shift) + inside)


CAMERAS = {
    "half a pixel": Camera(pan_x=0.5, pan_y=0.5),
    "zoom in": Camera(zoom=1.1),
    "zoom out": Camera(zoom=0.9),
    "roll": Camera(roll=7),
    "all": Camera(0.3, -1.7, 1.03, -4),
}


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_every_frame_is_white_noise_of_unit_variance(camera):
    """Covariance of 2 x 2 neighbours, over 40 clips and all places."""
    frames = torch.stack([clip_of_seed(camera, seed) for seed in range(40)]).flatten(0, 1)
    pixels = torch.stack((frames[:, :-1, :-1], frames[:, :-1, 1:], frames[:, 1:, :-1], frames[:, 1:, 1:]))
    covariance = pixels.flatten(1).cov()
    assert torch.allclose(covariance, torch.eye(4), atol=0.016)
    assert float(frames.pow(4).mean()) == pytest.approx(3, abs=0.08)
    assert abs(float(frames.mean())) < 0.01


def clip_of_seed(camera: Camera, seed: int) -> torch.Tensor:
    start = torch.randn(4, 32, 32, generator=torch.Generator().manual_seed(seed))
    return warp_clip(start, follow_camera(camera, 4, 32, 32), seed)[-1]


def test_half_a_pixel_shares_half_with_both():
    moved = clip(Camera(pan_x=0.5), frames=2, size=256)
    assert correlate(moved[1], moved[0]) == pytest.approx(0.5, abs=0.02)
    assert correlate(moved[1][..., 1:], moved[0][..., :-1]) == pytest.approx(0.5, abs=0.02)


def test_the_same_fraction_shows_the_same_noise():
    """Frames 1 and 3 of half a pixel per frame are equal but for a pixel, except at the edges."""
    moved = clip(Camera(pan_x=0.5), frames=4)
    assert torch.allclose(moved[3][..., 2:-1], moved[1][..., 1:-2], atol=1e-5)


def test_the_length_of_the_clip_changes_nothing():
    camera = CAMERAS["all"]
    assert torch.equal(clip(camera, 9)[:4], clip(camera, 4))
    assert not torch.equal(clip(camera, 4, seed=2)[3], clip(camera, 4, seed=1)[3])


@pytest.mark.parametrize("frames", [6, 7])
def test_there_and_back(frames):
    moved = clip(Camera(pan_x=1, zoom=1.05, path=BACK), frames)
    for number in range(1, frames):
        assert torch.equal(moved[number], moved[frames - number])
    assert not torch.equal(moved[1], moved[2])


def test_camera_composes_steps():
    """A point one pixel right of the middle: twice as far, turned a quarter clockwise, and panned."""
    positions = follow_camera(Camera(pan_x=3, zoom=2, roll=90), 3, 33, 33)
    assert torch.allclose(positions[0][16, 17], torch.tensor((16.0, 17.0), dtype=torch.float64))
    assert torch.allclose(positions[1][18, 19], torch.tensor((16.0, 17.0), dtype=torch.float64))
    assert torch.allclose(positions[2][22, 15], torch.tensor((16.0, 17.0), dtype=torch.float64), atol=1e-9)


def test_flow_of_a_video_moves_noise():
    """The picture moves 16 pixels right per frame in a video of 8 times the latent's size: 2 latent pixels."""
    flows = torch.zeros(FRAMES - 1, 2, 8 * SIZE, 8 * SIZE)
    flows[:, 0] = -16
    moved = warp_clip(first(), follow_flows(flows, SIZE, SIZE), 1)
    panned = clip(Camera(pan_x=2))
    for number in range(FRAMES):
        assert torch.allclose(moved[number], panned[number], atol=1e-3)


def test_flow_that_varies_keeps_noise_white():
    flows = torch.nn.functional.interpolate(torch.randn(1, 2, 5, 5) * 3, size=(256, 256), mode="bicubic")
    moved = warp_clip(first(256), follow_flows(flows, 256, 256), 1)[1]
    for x, y in ((moved[..., 1:], moved[..., :-1]), (moved[:, 1:], moved[:, :-1])):
        assert abs(correlate(x, y)) < 0.012
    assert float(moved.var()) == pytest.approx(1, abs=0.02)


def test_a_camera_that_moves_too_far_is_refused():
    with pytest.raises(LoomError, match=r"moves across \d+ x \d+ latent pixels.*Lower the pan"):
        clip(Camera(zoom=0.5), frames=16)


def test_a_mix_keeps_the_variance():
    x, y = torch.randn(2, DRAWS, generator=torch.Generator().manual_seed(3))
    assert torch.equal(mix(x, y, 0.0), x)
    assert torch.equal(mix(x, y, 1.0), y)
    assert float(mix(x, y, 0.3).var()) == pytest.approx(1, abs=0.01)
    assert correlate(mix(x, y, 0.3), x) == pytest.approx(math.sqrt(0.7), abs=0.01)


def test_noise_of_a_plane_does_not_depend_on_the_cut():
    whole = warping.draw_plane(2, -70, -10, 140, 90, 7)
    assert torch.equal(warping.draw_plane(2, -3, 5, 20, 30, 7), whole[:, 67:87, 15:45])
