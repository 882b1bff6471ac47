"""The flow of a video: measured by the pack, and by a RAFT as the host loads it."""

import pytest
import torch
from animatediff_loom.inspection.metrics.measure import estimate_colour_flow
from animatediff_loom.sampling.noise.video_flow import estimate_by_model, measure_flows
from comfy.model_patcher import ModelPatcher
from torchvision.models.optical_flow import raft_large

from tests.support.sampling import host_node

CPU = torch.device("cpu")


def video(frames: int, height: int, width: int, step: int) -> torch.Tensor:
    """Blurred noise that moves right by `step` pixels per frame, `[frames, height, width, 3]`."""
    wide = torch.rand(1, 3, height, width + frames * step, generator=torch.Generator().manual_seed(2))
    wide = torch.nn.functional.avg_pool2d(wide, 9, 1, 4, count_include_pad=False)[0].movedim(0, -1)
    starts = [(frames - number) * step for number in range(frames)]
    return torch.stack([wide[:, start : start + width] for start in starts])


def test_motion_to_the_right_came_from_the_left():
    flows = measure_flows(video(10, 128, 160, step=2), estimate_colour_flow)
    assert flows.shape == (9, 2, 128, 160)
    inside = flows[:, :, 20:-20, 20:-20]
    assert float(inside[:, 0].median()) == pytest.approx(-2, abs=0.2)
    assert float(inside[:, 1].median()) == pytest.approx(0, abs=0.2)


def test_the_model_of_the_host():
    """Ask one of random weights for the flow to the frame before, in its range and at a size that it takes."""
    host_node("nodes_void.OpticalFlowLoader")
    model, frames = raft_large(weights=None, progress=False).eval(), video(3, 128, 136, step=1)
    flows = measure_flows(frames, estimate_by_model(ModelPatcher(model, CPU, CPU)))
    pictures = frames.movedim(-1, 1) * 2 - 1
    with torch.no_grad():
        expected = model(pictures[1:], pictures[:-1])[-1]
    assert torch.allclose(flows, expected, atol=1e-4)
    assert measure_flows(frames[:2, :64, :100], estimate_colour_flow).shape == (1, 2, 128, 200)
