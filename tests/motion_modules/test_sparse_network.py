"""The network of SparseCtrl computes what diffusers' does, with the authors' norm per frame in the motion modules."""

import pytest
import torch
from animatediff_loom.motion_modules.contract import MotionInputs

from tests.support.host import CONTEXT_WIDTH
from tests.support.sparse_controls import KINDS, RGB, reference_network, sparse_network

CLIPS, FRAMES, SIZE = 2, 5, 8


def inputs(kind: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Two clips with pictures at frames 0 and 3."""
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    channels, side = (4, SIZE) if kind == RGB else (3, 8 * SIZE)
    mask = torch.zeros(CLIPS, 1, FRAMES, side, side, dtype=dtype)
    mask[:, :, [0, 3]] = 1
    return {
        "x": draw(CLIPS, 4, FRAMES, SIZE, SIZE),
        "pictures": draw(CLIPS, channels, FRAMES, side, side) * mask,
        "mask": mask,
        "text": draw(CLIPS, 7, CONTEXT_WIDTH),
        "timesteps": torch.tensor([501.0, 37.0], dtype=dtype),
    }


def evaluate_reference(kind: str, clips: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    text = clips["text"].repeat_interleave(FRAMES, 0)
    network = reference_network(kind, clips["x"].dtype)
    skips, middle = network(
        clips["x"], clips["timesteps"], text, clips["pictures"], conditioning_mask=clips["mask"], return_dict=False
    )
    return [*skips, middle]


def evaluate_ours(kind: str, clips: dict[str, torch.Tensor], frames: int = FRAMES) -> list[torch.Tensor]:
    network = sparse_network(kind, clips["x"].dtype)
    control = network(
        flatten(clips["x"]),
        hint=flatten(torch.cat([clips["pictures"], clips["mask"]], dim=1)),
        timesteps=clips["timesteps"].repeat_interleave(FRAMES, 0),
        context=clips["text"].repeat_interleave(FRAMES, 0),
        motion=MotionInputs(frames),
    )
    return [*control["output"], *control["middle"]]


def flatten(clips: torch.Tensor) -> torch.Tensor:
    return clips.transpose(1, 2).flatten(0, 1)


def largest_difference(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """Return the largest difference at any level, relative to the largest value there."""
    pairs = zip(ours, theirs, strict=True)
    return max(float((our - their).abs().max() / their.abs().max()) for our, their in pairs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_reference(kind, dtype, tolerance):
    clips = inputs(kind, dtype)
    theirs = evaluate_reference(kind, clips)
    assert len(theirs) == 13
    assert largest_difference(evaluate_ours(kind, clips), theirs) <= tolerance
    assert min(float(level.std()) for level in theirs) > 1e-2


def test_frames_attend_to_each_other():
    """Otherwise, parity would not show whether motion modules get the right frames."""
    clips = inputs(RGB, torch.float64)
    assert largest_difference(evaluate_ours(RGB, clips, frames=1), evaluate_reference(RGB, clips)) > 1e-2


def test_the_noisy_latent_does_not_matter():
    clips = inputs(RGB, torch.float32)
    other = clips | {"x": 3 * clips["x"] + 1}
    ours, theirs = evaluate_ours(RGB, clips), evaluate_ours(RGB, other)
    assert all(map(torch.equal, ours, theirs))


def test_each_clip_is_evaluated_alone():
    clips = inputs(RGB, torch.float64)
    other = {name: torch.cat([tensor[:1], 2 * tensor[1:]]) for name, tensor in clips.items()}
    for ours, theirs in zip(evaluate_ours(RGB, clips), evaluate_ours(RGB, other), strict=True):
        assert torch.equal(ours[:FRAMES], theirs[:FRAMES]) and not torch.equal(ours[FRAMES:], theirs[FRAMES:])
