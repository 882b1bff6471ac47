"""The picture of a camera path shows every kind of path, and the node gives the path as a text again."""

import pytest
import torch
from animatediff_loom.inspection.camera.picture import draw
from animatediff_loom.inspection.figures.style import HUES
from animatediff_loom.nodes.camera_path import EXAMPLE, CameraPathNode
from animatediff_loom.sampling.camera.keyframes import follow_keyframes


def picture(text: str, frames: int = 16) -> torch.Tensor:
    return draw(follow_keyframes(text, frames, "linear", 2.0))[0]


def columns_of(image: torch.Tensor, hue: tuple[int, ...]) -> list[int]:
    """The columns of pixels that have the colour `hue`."""
    matches = ((image * 255).round() == torch.tensor(hue)).all(dim=-1)
    return matches.any(dim=0).nonzero()[:, 0].tolist()


def test_a_camera_that_orbits_to_the_right_ends_at_the_right():
    above = picture("100%: orbit 90")[:, :420]
    first, last = columns_of(above, HUES[0]), columns_of(above, HUES[1])
    assert min(last) > max(first)


def test_a_picture_that_zooms_in_ends_inside_of_the_first_one():
    outlines = picture("100%: zoom 2")[:, 870:]
    first, last = columns_of(outlines, HUES[0]), columns_of(outlines, HUES[1])
    assert min(first) < min(last) < max(last) < max(first)
    assert max(last) - min(last) == pytest.approx((max(first) - min(first)) / 2, abs=3)


@pytest.mark.parametrize("text", ["0: pan 0", "1: dolly 90", "0: zoom 10, roll 3600\n1: zoom 0.1"])
@pytest.mark.parametrize("frames", [1, 2, 100])
def test_every_path_is_drawn(text, frames):
    image = picture(text, frames)
    assert image.shape[1:] == (1280, 3)
    assert len(image.unique()) > 10


def run(**path: str):
    return CameraPathNode.execute(path, 16, 2.0).result


def test_the_text_of_a_path_is_read_by_the_node_again():
    path, image, text = run(path="keyframes", keyframes=EXAMPLE, easing="ease_in_out")
    again, same, _ = run(path="poses", poses=text)
    assert torch.allclose(again.poses, path.poses, atol=1e-8)
    assert float((image - same).abs().mean()) < 1e-3
