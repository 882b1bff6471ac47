"""Watching a motion module: numbers in every precision, attention between frames, memory and frame numbers."""

import pytest
import torch
from animatediff_loom.motion_modules.contract import MotionInputs
from animatediff_loom.motion_modules.run_state import frame_numbers
from animatediff_loom.motion_modules.watching.attention_maps import attention_weights
from animatediff_loom.motion_modules.watching.live_memory import LiveMemory
from animatediff_loom.motion_modules.watching.observer import Observer


class Clamp(torch.nn.Module):
    def forward(self, x, inputs):
        return x.clamp(-800, 800)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_in_every_precision(dtype):
    """Large feature maps, compared part by part, and values whose squares are too large for fp16."""
    x = (1000 * torch.randn(6, 8, 100, 200, generator=torch.Generator().manual_seed(0))).to(dtype)
    observer = Observer()
    moved = observer.watch("owner", "site", Clamp(), x, MotionInputs(6), {})
    observer.watch("owner", "site", Clamp(), moved, MotionInputs(6), {})
    first, second = observer.collect()
    expected = [x.double(), moved.double()]
    norms = [tensor.flatten(1).norm(dim=1) for tensor in (*expected, expected[1] - expected[0])]
    largest = [tensor.flatten(1).abs().amax(dim=1) for tensor in expected]
    means = [tensor.flatten(1).mean(dim=1) for tensor in expected]
    rows = [means[0], norms[0], largest[0], means[1], norms[1], largest[1], norms[2]]
    assert first.numbers.double() == pytest.approx(torch.stack(rows), rel=1e-3, abs=0.05)
    assert second.numbers[6].tolist() == [0.0] * 6
    assert observer.collect() == []


def test_large_attention_is_drawn_from_an_even_selection():
    q, k = torch.randn(2, 4000, 16, 32, generator=torch.Generator().manual_seed(0)).unbind(0)
    selected = attention_weights(q, k, 8, 1.0)
    assert len(selected) == 2000
    assert selected.numel() <= 2**22
    assert selected.sum(dim=3) == pytest.approx(torch.ones(selected.shape[:3]), abs=1e-4)
    assert torch.equal(selected[1], attention_weights(q[2:3], k[2:3], 8, 1.0)[0])


@pytest.mark.parametrize("places", [6, 800])
def test_attention_over_space_too_is_drawn_between_frames(places):
    """Each place of a frame attends to all places of another; the mean over places, or over some of many."""
    noise = 0.5 * torch.randn(2, 5, places, 8, generator=torch.Generator().manual_seed(0))
    of_frame = 3 * torch.randn(2, 5, 1, 8, generator=torch.Generator().manual_seed(1))
    of_place = torch.linspace(0, 2, places)[:, None]
    q, k = noise + of_frame + of_place
    weights = (q.flatten(0, 1) @ k.flatten(0, 1).T / 8**0.5).softmax(1).view(5, places, 5, places)
    expected = weights.sum(3).mean(1)
    drawn = attention_weights(q.flatten(0, 1)[None], k.flatten(0, 1)[None], heads=1, scale=1.0, frames=5)
    assert expected.max() - expected.min() > 0.3
    assert drawn[0, 0] == pytest.approx(expected, abs=1e-5 if places == 6 else 0.05)
    assert drawn.sum(dim=3) == pytest.approx(torch.ones(1, 1, 5), abs=1e-5)


def test_memory_is_what_lives_at_once():
    x = torch.zeros(1000)
    with LiveMemory() as memory:
        y = x + 1
        view = y.view(10, 100)
        z = torch.cat((view, view))
        del y, view
        w = z * 2
        del z
        v = w + 1
    assert v.shape == (20, 100)
    assert memory.peak == 4 * (2000 + 2000)
    with LiveMemory() as memory:
        x.add_(1).view(10, 100).mul_(2)
    assert memory.peak == 0


def test_frames_of_a_batch():
    class Window:
        index_list = [5, 6, 7]

    assert frame_numbers({"cond_or_uncond": [0, 1]}, 6, 3) == [0, 1, 2, 0, 1, 2]
    assert frame_numbers({"cond_or_uncond": [0, 1], "context_window": Window}, 6, 3) == [5, 6, 7] * 2
    assert frame_numbers({"cond_or_uncond": [0, 1], "context_window": Window}, 8, 4) == [4, 5, 6, 7] * 2
    assert frame_numbers({"cond_or_uncond": [0, 1], "context_window": Window}, 12, 3) == [5, 6, 7] * 4  # two tiles
    assert frame_numbers({"ad_params": {"sub_idxs": [8, 9, 8, 9]}}, 8, 2) == [8, 9] * 4
