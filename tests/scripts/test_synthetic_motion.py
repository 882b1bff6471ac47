import pytest
import torch
from synthetic_motion import LAYOUTS, SD15_WIDTHS, SDXL_WIDTHS, motion_model_state_dict, positional_table


@pytest.mark.parametrize(
    ("layout", "widths", "tensors"),
    [("v1", SD15_WIDTHS, 560), ("v2", SD15_WIDTHS, 588), ("v3", SD15_WIDTHS, 560), ("sdxl", SDXL_WIDTHS, 420)]
    + [("lcm", SD15_WIDTHS, 546)],
)
def test_a_layout_has_as_many_tensors_as_the_published_files(layout: str, widths: tuple[int, ...], tensors: int):
    narrow = [width // 10 for width in widths]
    assert len(motion_model_state_dict(narrow, **LAYOUTS[layout])) == tensors


def test_the_positional_table_is_the_published_one():
    table = positional_table(32, 320)[0]
    first = torch.tensor([0.841471, 0.540302, 0.809946, 0.586504, 0.777858, 0.628439])
    torch.testing.assert_close(table[1, :6], first, atol=1e-6, rtol=0)
    torch.testing.assert_close(table[31, 318:], torch.tensor([0.003284, 0.999995]), atol=1e-6, rtol=0)


def test_a_seed_decides_every_weight():
    one, same, other = (motion_model_state_dict((32, 64), seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one if not name.endswith("pe"))


def test_an_output_gain_of_zero_makes_the_modules_identities():
    weights = motion_model_state_dict((32,), output_gain=0.0)
    assert all(not tensor.any() for name, tensor in weights.items() if ".proj_out." in name)
